import functools
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, OperationalError

from pipeline.core.errors import StudyError
from pipeline.storage import database
from pipeline.storage.database import Database, is_transient
from pipeline.storage.internals import heartbeats_of, study_id, trial_id
from pipeline.storage.open import RecentTrials, open_storage, quiet_optuna
from tests.at_once import assert_all_succeed, start_processes
from tests.servers import PostgreSQL

TRIALS = 25


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


def _work(url: str) -> None:
    quiet_optuna()
    storage = RecentTrials(open_storage(url))
    study = optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler())
    for _ in range(TRIALS):
        trial = study.ask()
        storage.record_heartbeat(trial_id(trial))
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.report(x, 1)
        trial.set_user_attr("x", x)
        trial.set_user_attr("worker", os.getpid())
        time.sleep(0.1)
        study.tell(trial, x)


def test_workers_survive_a_server_that_restarts(postgresql: PostgreSQL) -> None:
    study = optuna.create_study(study_name="s", storage=open_storage(postgresql.url))
    workers = start_processes(_work, postgresql.url, number=3)
    while len({trial.user_attrs.get("worker") for trial in study.trials} - {None}) < 3:  # all have opened it
        time.sleep(0.1)
    postgresql.restart()
    time.sleep(0.5)
    postgresql.stop()
    time.sleep(1.0)
    assert all(worker.is_alive() for worker in workers)
    postgresql.start()
    assert_all_succeed(workers)
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(complete) == 3 * TRIALS
    assert all(trial.params["x"] == trial.value == trial.user_attrs["x"] for trial in complete)


def test_a_locked_file_is_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.01)
    study = optuna.create_study(storage=open_storage(url))
    blocker = sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, lambda: blocker.execute("COMMIT")).start()
    study.set_user_attr("key", "value")
    assert study.user_attrs == {"key": "value"}
    blocker.close()


def _failure(url: str, statement: str) -> Exception:
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": 0} if url.startswith("sqlite") else {})
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    return caught.value


def _mysql(code: int) -> OperationalError:
    return OperationalError("", None, Exception(code, "a message"))


class _PostgreSQLError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def test_what_passes_and_what_does_not(url: str, postgresql: PostgreSQL) -> None:
    blocker = sqlite3.connect(url.removeprefix("sqlite:///"))
    blocker.execute("BEGIN EXCLUSIVE")
    assert is_transient(_failure(url, "CREATE TABLE t (x INTEGER)"))
    blocker.close()
    assert not is_transient(_failure(url, "SELECT * FROM missing"))
    assert is_transient(_failure("postgresql+psycopg://127.0.0.1:1/none", "SELECT 1"))
    assert is_transient(_failure(postgresql.url, "SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_transient(_failure(postgresql.url, "SET lock_timeout = 1; DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))
    assert not is_transient(_failure(postgresql.url, "SELECT * FROM missing"))
    assert not is_transient(_failure(postgresql.url, "SELECT 1/0"))


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OperationalError("", None, _PostgreSQLError("57P03")), True),
        (OperationalError("", None, _PostgreSQLError("53300")), True),
        (OperationalError("", None, _PostgreSQLError("53100")), False),  # disk full
        (OperationalError("", None, _PostgreSQLError("57014")), False),  # a query that took too long will again
        (_mysql(1213), True),
        (_mysql(2013), True),
        (_mysql(1045), False),  # access denied
        (KeyError("trial"), False),
        (StorageInternalError("nothing below"), False),
    ],
)
def test_what_passes_by_its_code(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes
    wrapped = StorageInternalError("as Optuna does")
    wrapped.__cause__ = error
    assert is_transient(wrapped) is passes


@pytest.fixture
def lose_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes an operation's first call take effect, and fail all the same."""

    def lose(name: str) -> None:
        operation = getattr(RDBStorage, name)
        lost: list[None] = []

        @functools.wraps(operation)
        def once(*args: Any, **kwargs: Any) -> Any:
            result = operation(*args, **kwargs)
            if not lost:
                lost.append(None)
                raise StorageInternalError from OperationalError("", None, Exception("connection lost"))
            return result

        monkeypatch.setattr(RDBStorage, name, once)

    return lose


def test_an_end_whose_answer_was_lost_is_no_error(url: str, lose_answer: Callable[[str], None]) -> None:
    study = optuna.create_study(storage=open_storage(url))
    trial = study.ask()
    lose_answer("set_trial_state_values")
    study.tell(trial, 0.5)
    assert study.trials[0].value == 0.5


def test_another_end_is_one(url: str) -> None:
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)
    asked = trial_id(study.ask())
    RDBStorage.set_trial_state_values(storage, asked, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(asked, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(asked, TrialState.COMPLETE, [0.5])


def _age(storage: Database, seconds: int) -> None:
    """Makes all hearts have beaten so much earlier."""
    change = sqlalchemy.text(f"UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-{seconds} seconds')")
    with storage.engine.begin() as connection:
        connection.execute(change)


@pytest.mark.parametrize("view", [RecentTrials, lambda storage: storage])
def test_a_silent_trial_is_ended_and_told(url: str, view: Callable[[Any], Any]) -> None:
    told: list[tuple[str, int]] = []

    def on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
        told.append((study.study_name, trial.number))

    storage = open_storage(url, on_stale=on_stale)
    study = optuna.create_study(study_name="s", storage=view(storage))
    trials = [study.ask() for _ in range(2)]
    for trial in trials:
        heartbeats_of(study).record_heartbeat(trial_id(trial))
    _age(storage, 50)
    optuna.storages.fail_stale_trials(study)
    assert told == []
    _age(storage, 15)
    heartbeats_of(study).record_heartbeat(trial_id(trials[1]))
    optuna.storages.fail_stale_trials(study)
    assert told == [("s", 0)]
    assert [trial.state for trial in open_storage(url).get_all_trials(study_id(study))] == [
        TrialState.FAIL,
        TrialState.RUNNING,
    ]


def test_a_resumed_trial_is_not_taken_for_dead_before_its_first_beat(url: str) -> None:
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)
    asked = trial_id(study.ask())
    storage.record_heartbeat(asked)
    storage.set_trial_state_values(asked, TrialState.WAITING)
    _age(storage, 1000)
    assert storage.set_trial_state_values(asked, TrialState.RUNNING)
    assert storage._get_stale_trial_ids(study_id(study)) == []


def test_a_heart_that_beats_for_an_ended_trial_harms_nothing(url: str) -> None:
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial, 1.0)
    storage.record_heartbeat(trial_id(trial))
    assert study.trials[0].state == TrialState.COMPLETE


def test_a_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OPENING_SECONDS", 0.0)
    with pytest.raises(StudyError, match="cannot be opened") as caught:
        open_storage("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
    assert "me:***@127.0.0.1" in str(caught.value)
