import math
import sqlite3
from pathlib import Path

import optuna
import pytest

from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.storage import database
from pipeline.storage.open import RecentTrials, open_existing, open_storage
from tests.at_once import at_once

PROCESSES, WAITING = 4, 60


def _drain(url: str) -> None:
    study = optuna.load_study(study_name="s", storage=open_storage(url), sampler=optuna.samplers.RandomSampler())
    while True:
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1000.0)
        if "queued" not in trial.user_attrs:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        trial.report(0.0, 1)
        study.tell(trial, 0.0)


def test_workers_never_draw_the_same_waiting_trial(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    for number in range(WAITING):
        study.enqueue_trial({"x": float(number)}, user_attrs={"queued": True})
    at_once(_drain, url, number=PROCESSES)
    done = [trial.params["x"] for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))]
    assert sorted(done) == [float(number) for number in range(WAITING)]
    assert len(study.trials) == WAITING + PROCESSES


def _touch(url: str) -> None:
    open_storage(url)


def test_several_processes_may_be_the_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    at_once(_touch, url, number=PROCESSES)
    assert optuna.create_study(storage=open_storage(url)).trials == []


def test_sqlite_has_a_write_ahead_log(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path / 'deep' / 'studies.db'}")
    with sqlite3.connect(tmp_path / "deep" / "studies.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////proc/nothing/studies.db", "cannot be opened"),
        ("postgresql://127.0.0.1:1/none", "cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    monkeypatch.setattr(database, "OPENING_SECONDS", 0.0)
    with pytest.raises(StudyError, match="the study storage") as caught:
        open_storage(url)
    assert reason in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("this is not a database, and long enough to be taken for one" * 50)
    with pytest.raises(StudyError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path / 'studies.db'}")


def test_looking_something_up_makes_no_storage(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study in the workspace"):
        open_existing(Workspace(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_worker_knows_its_own_trials_at_once(tmp_path: Path) -> None:
    storage = RecentTrials(open_storage(f"sqlite:///{tmp_path / 'studies.db'}"))
    study = optuna.create_study(storage=storage)
    for number in range(3):
        assert len(study.get_trials()) == number
        trial = study.ask()
        assert study.get_trials()[-1].state == optuna.trial.TrialState.RUNNING
        study.tell(trial, 1.0)
        assert study.get_trials()[-1].state == optuna.trial.TrialState.COMPLETE


def test_a_worker_can_ask_for_a_fresh_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    storage = RecentTrials(open_storage(url))
    study = optuna.create_study(study_name="s", storage=storage)
    assert study.trials == []
    optuna.load_study(study_name="s", storage=open_storage(url)).ask()
    storage.read_at = math.inf  # what was read is recent, however slow this machine is
    assert study.trials == []
    storage.forget()
    assert len(study.trials) == 1
