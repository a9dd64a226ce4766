"""The study's storage: SQLite under the workspace by default, or any database that Optuna knows."""

import math
import sqlite3
import time
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial

from pipeline.errors import StudyError
from pipeline.first_touch import first_touch
from pipeline.places import Places

# How long a process waits for another one's write before it gives up.
LOCK_TIMEOUT_SECONDS = 60
# How old a worker's knowledge of other workers' trials may be.
MAX_AGE_SECONDS = 1.0


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Opens a storage, and makes its tables where they are missing (on a server, let one process do that first).

    SQLite runs with a write-ahead log, so that readers and the writer do not wait for each other, and every
    transaction takes the write lock at its start: Optuna reads and then writes, and two workers would otherwise draw
    the same waiting trial.

    Args:
        url: A SQLAlchemy URL.

    Raises:
        StudyError: It cannot be opened.
    """
    try:
        address = sqlalchemy.make_url(url)
        if address.get_backend_name() != "sqlite":
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        with first_touch(url):
            if address.database:
                with sqlite3.connect(address.database) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
                connection.close()
            timeout = {"timeout": LOCK_TIMEOUT_SECONDS}
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": timeout})
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ImportError, OSError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StudyError(f"the study storage {url} cannot be opened: {reason}") from None
    sqlalchemy.event.listen(storage.engine, "connect", _configure)
    sqlalchemy.event.listen(storage.engine, "begin", _begin)
    storage.engine.dispose()  # connections made so far are not configured
    return storage


def _configure(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own, and too late
    # With a write-ahead log NORMAL survives a killed process; only a power cut can lose the last commits.
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class RecentTrials(_CachedStorage):
    """A worker's view of a storage: of the other workers' trials it knows what they were up to a moment ago.

    Optuna's samplers and pruners ask for all trials some 20 times a trial, and the unfinished ones are read anew each
    time: half of what a trial costs. Optuna puts its own cache (the base class) before a database by itself; this one
    also keeps what it has read for `MAX_AGE_SECONDS`, and its own worker's changes of state are always in it.
    """

    def __init__(self, backend: optuna.storages.RDBStorage) -> None:
        super().__init__(backend)
        self._read_at = -math.inf

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._read_at = -math.inf
        return super().create_new_trial(study_id, template_trial)

    def set_trial_state_values(
        self, trial_id: int, state: optuna.trial.TrialState, values: Sequence[float] | None = None
    ) -> bool:
        self._read_at = -math.inf
        return super().set_trial_state_values(trial_id, state, values)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if time.monotonic() - self._read_at >= MAX_AGE_SECONDS:
            super()._read_trials_from_remote_storage(study_id)
            self._read_at = time.monotonic()


def open_existing(places: Places) -> optuna.storages.BaseStorage:
    """Opens a storage to look something up; makes none.

    Raises:
        StudyError: There is none.
    """
    if places.storage is None and not (places.workspace / "studies.db").exists():
        raise StudyError(
            f"no study in the workspace {places.workspace} yet: dnntune run makes one, or name --workspace"
        )
    return open_storage(places.storage_url)


def study_names(storage: optuna.storages.BaseStorage) -> list[str]:
    """Returns the names of all studies in a storage."""
    return sorted(optuna.get_all_study_names(storage))


def quiet_optuna() -> None:
    """Silences Optuna's own log and its warnings about options that are called experimental."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
