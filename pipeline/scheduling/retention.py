"""What old runs of a schedule have left in the workspace, and is not needed any more."""

import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import optuna

from pipeline.core.filesystem.folders import remove_folder
from pipeline.core.workspace import Workspace
from pipeline.data.feature_cache import remove_unused
from pipeline.finalize.finalists import finals_names
from pipeline.scheduling.config import Retention
from pipeline.scheduling.run import studies_of
from pipeline.storage.open import study_names
from pipeline.study.attributes import PREPARED

DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Removed:
    """What was removed: the studies whose checkpoints and models are gone, and the bytes of all that was removed."""

    studies: tuple[str, ...]
    num_bytes: int


def remove_old(
    storage: optuna.storages.BaseStorage, schedule: str, workspace: Workspace, retention: Retention
) -> Removed:
    """Removes checkpoints and models of a schedule's old studies, and cached features that nobody has read for long.

    Studies, final results, reports, exports and MLflow's runs stay.

    Args:
        storage: The studies' storage.
        schedule: The schedule's name.
        workspace: Where its studies are kept.
        retention: What is kept.
    """
    oldest = time.time() - retention.days * DAY_SECONDS
    old = [
        study.study_name for study in studies_of(storage, schedule)[: -retention.studies] if last_moment(study) < oldest
    ]
    num_bytes = 0
    for folder in (folder for name in old for folder in folders_of(storage, name, workspace)):
        size = size_of(folder)
        if remove_folder(folder, below=workspace.root):
            num_bytes += size
    num_bytes += remove_unused(workspace.feature_cache, before=oldest)
    return Removed(tuple(old), num_bytes)


def last_moment(study: optuna.Study) -> float:
    """Returns the Unix time at which a study's last trial ended, or at which it was prepared."""
    prepared: float = study.user_attrs[PREPARED]
    ends = (trial.datetime_complete for trial in study.get_trials(deepcopy=False))
    return max([prepared, *(end.timestamp() for end in ends if end is not None)])


def folders_of(storage: optuna.storages.BaseStorage, study: str, workspace: Workspace) -> list[Path]:
    """Returns the folders of a study, and of the studies that have trained its finalists, that may be removed."""
    taken = study_names(storage)
    names = [study, *takewhile(taken.__contains__, finals_names(study))]
    return [
        folder for name in names for folder in (workspace.checkpoints(name), workspace.models(name)) if folder.is_dir()
    ]


def size_of(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
