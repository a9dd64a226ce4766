import os
import time
from pathlib import Path

import optuna
import pytest

from pipeline.core.filesystem.folders import make_folder
from pipeline.core.workspace import Workspace
from pipeline.scheduling.config import Retention
from pipeline.scheduling.retention import DAY_SECONDS, remove_old
from pipeline.study.attributes import PREPARED, RUN, SCHEDULE


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def storage() -> optuna.storages.InMemoryStorage:
    return optuna.storages.InMemoryStorage()


def prepared(storage: optuna.storages.BaseStorage, workspace: Workspace, day: int, *, days_ago: float) -> str:
    """Makes a study of the schedule nightly with something in each of its folders, and returns its name."""
    name = f"nightly-{day}"
    study = optuna.create_study(storage=storage, study_name=name)
    attrs = {SCHEDULE: "nightly", RUN: str(day), PREPARED: time.time() - days_ago * DAY_SECONDS}
    for attr, value in attrs.items():
        study.set_user_attr(attr, value)
    for folder in (workspace.checkpoints(name), workspace.models(name), workspace.models(f"{name}-final")):
        make_folder(folder)
        (folder / "file").write_bytes(b"1234")
    optuna.create_study(storage=storage, study_name=f"{name}-final")
    workspace.final(name).parent.mkdir(exist_ok=True)
    workspace.final(name).write_text("{}")
    return name


def kept(workspace: Workspace, name: str) -> list[bool]:
    return [
        f.exists() for f in (workspace.checkpoints(name), workspace.models(name), workspace.models(f"{name}-final"))
    ]


def test_what_is_old_and_not_among_the_last_is_removed(
    workspace: Workspace, storage: optuna.storages.BaseStorage
) -> None:
    names = [prepared(storage, workspace, day, days_ago=ago) for day, ago in enumerate((90, 80, 10, 5))]
    removed = remove_old(storage, "nightly", workspace, Retention(studies=1, days=30))
    assert removed.studies == tuple(names[:2])
    assert removed.num_bytes == 2 * 3 * 4
    assert [any(kept(workspace, name)) for name in names] == [False, False, True, True]
    assert all(workspace.final(name).exists() for name in names)


def test_the_last_studies_stay_however_old(workspace: Workspace, storage: optuna.storages.BaseStorage) -> None:
    names = [prepared(storage, workspace, day, days_ago=90) for day in range(3)]
    assert remove_old(storage, "nightly", workspace, Retention(studies=2, days=1)).studies == (names[0],)
    assert all(kept(workspace, names[2]))


def test_other_studies_are_left_alone(workspace: Workspace, storage: optuna.storages.BaseStorage) -> None:
    optuna.create_study(storage=storage, study_name="nightly-by-hand")
    make_folder(workspace.models("nightly-by-hand"))
    make_folder(workspace.models("nightly-1-finalists"))
    prepared(storage, workspace, 1, days_ago=90)
    assert remove_old(storage, "night", workspace, Retention(studies=1, days=0)).studies == ()
    remove_old(storage, "nightly", workspace, Retention(studies=1, days=0))
    assert workspace.models("nightly-by-hand").exists()
    assert workspace.models("nightly-1-finalists").exists()


def test_features_that_nobody_has_read_since_are_removed(
    workspace: Workspace, storage: optuna.storages.BaseStorage
) -> None:
    workspace.feature_cache.mkdir(parents=True)
    for name, days_ago in (("old", 40.0), ("new", 1.0)):
        entry = workspace.feature_cache / f"{name}.npy"
        entry.write_bytes(b"12345678")
        os.utime(entry, (0, time.time() - days_ago * DAY_SECONDS))
    assert remove_old(storage, "nightly", workspace, Retention(days=30)).num_bytes == 8
    assert [file.name for file in workspace.feature_cache.glob("*.npy")] == ["new.npy"]
