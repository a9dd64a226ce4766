"""The study's storage: SQLite under the workspace by default, or any database that Optuna knows."""

import math
import time
import warnings
from collections.abc import Sequence

import optuna
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial

from pipeline.core.errors import StudyError, WorkspaceError
from pipeline.core.stores.urls import StoreUrl, hide
from pipeline.core.workspace import Workspace
from pipeline.storage import database
from pipeline.storage.heartbeats import OnStale

# How old a worker's knowledge of other workers' trials may be.
MAX_AGE_SECONDS = 1.0


def open_storage(url: str, *, on_stale: OnStale | None = None) -> database.Database:
    """Opens a storage, and makes its tables where they are missing.

    It has heartbeats (`pipeline.storage.heartbeats`), and waits for a server that restarts (`pipeline.storage.retry`).

    Args:
        url: A SQLAlchemy URL; any text becomes a `StoreUrl`.
        on_stale: Is called with a study and a trial that Optuna has ended because its heartbeat had expired.

    Raises:
        StudyError: It cannot be opened.
    """
    address = StoreUrl(url)
    try:
        return database.open_database(address, on_stale)
    except (*database.ERRORS, ImportError, OSError, RuntimeError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise StudyError(f"the study storage {address} cannot be opened: {hide(reason)}. Check --storage") from None


class RecentTrials(_CachedStorage):
    """A worker's view of a storage: of the other workers' trials it knows what they were up to a moment ago.

    Optuna's samplers and pruners ask for all trials some 20 times a trial, and the unfinished ones are read anew each
    time: half of what a trial costs. Optuna puts its own cache (the base class) before a database by itself; this one
    also keeps what it has read for `MAX_AGE_SECONDS`, and its own worker's changes of state are always in it.
    """

    def __init__(self, backend: optuna.storages.RDBStorage) -> None:
        super().__init__(backend)
        self.read_at = -math.inf

    def forget(self) -> None:
        """Makes the next read a fresh one."""
        self.read_at = -math.inf

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.forget()
        return super().create_new_trial(study_id, template_trial)

    def set_trial_state_values(
        self, trial_id: int, state: optuna.trial.TrialState, values: Sequence[float] | None = None
    ) -> bool:
        self.forget()
        return super().set_trial_state_values(trial_id, state, values)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if time.monotonic() - self.read_at >= MAX_AGE_SECONDS:
            super()._read_trials_from_remote_storage(study_id)
            self.read_at = time.monotonic()


def open_existing(workspace: Workspace) -> database.Database:
    """Opens a storage to look something up; makes none.

    Raises:
        StudyError: There is none.
    """
    if workspace.storage is None and not (workspace.root / "studies.db").exists():
        if workspace.root.exists() and not workspace.root.is_dir():
            raise WorkspaceError(f"a workspace must be a folder; {workspace.root} is not. Name another one")
        raise StudyError(
            f"there is no study in the workspace {workspace.root} yet. Create one with dnntune run, or set --workspace"
        )
    return open_storage(workspace.storage_url)


def study_names(storage: optuna.storages.BaseStorage) -> list[str]:
    """Returns the names of all studies in a storage."""
    return sorted(optuna.get_all_study_names(storage))


def quiet_optuna() -> None:
    """Silences Optuna's own log, its warnings about options that are called experimental, and one that is not true.

    Whoever asks for trials without `Study.optimize` must beat by itself, and `pipeline.workers.heartbeats` does.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")
