"""A store that fails at a request: in the end it has what it would have had."""

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException

from pipeline.errors import TrackingError
from pipeline.events import EpochEnded, TrialEnded, TrialReaped, TrialStarted
from pipeline.figures.canvas import png
from pipeline.places import Places
from pipeline.records import LayerFlow, TrialResult, Verdict
from pipeline.tracking import background, patience, trial_run
from pipeline.tracking.patience import is_passing, persist
from pipeline.tracking.study_log import StudyLog
from tests.tracking.logs import CONFIG, WRITES, FailingClient, epoch, finish, run_of, runs_of, start, stored

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("impatient")]

EVERY_CALL = (*WRITES, "search_runs", "get_run")
FLOW = (LayerFlow(1, "body.0", 0.1, 0.5, 1e-3, 0.2, 1.0), LayerFlow(2, "head", 0.4, 4.0, 3e-3, 0.0, 1.2))
FAILED = TrialResult("failed", None, 1, reason="ValueError: x", traceback="Traceback ...", seconds=2.0)
DIVERGED = TrialResult("diverged", 0.5, 2, 1, 0.5, 0.4, 99, 9.0, 5.0, verdict=Verdict("exploding", "it grows"))
REAPED = TrialResult("failed", reason="not heard of for 120 s")
A_PIXEL = png(Figure(figsize=(0.01, 0.01)))
# Writes of `log_study`: each is a case of the test in which one of them fails.
NUM_WRITES = 26


@pytest.fixture(autouse=True)
def _each_epoch_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(trial_run, "draw_gradient_flow", lambda *args: None)  # its own tests draw it
    monkeypatch.setattr(trial_run, "png", lambda figure: A_PIXEL)


def log_study(workspace: Path, methods: Collection[str], fails: Collection[int] | None, lost: bool) -> Any:
    """Logs a trial that fails, its second attempt, and the end of one that another process left.

    Returns:
        What is stored, and the client.
    """
    log = StudyLog(Places(workspace), "s")
    real = log.client
    client = FailingClient(real, methods, fails, lost)
    log.client = client  # type: ignore[assignment]
    parent = start(log)
    tags = {"study": "s", "kind": "trial", "mlflow.parentRunId": parent, "trial": "9"}
    real.create_run(log.experiment, start_time=500, run_name="t009", tags=tags)
    log.event(TrialStarted(0, {"case": "x"}, CONFIG, started=1000.0))
    log.event(EpochEnded(0, epoch(1, 0.4)))
    log.event(TrialEnded(0, FAILED))
    log.event(TrialStarted(1, {}, CONFIG, started=2000.0, retry=1, retry_of=0))
    log.event(EpochEnded(1, epoch(1, 0.4, FLOW)))
    log.event(EpochEnded(1, epoch(2, 0.5, FLOW)))
    log.event(TrialEnded(1, DIVERGED))
    log.event(TrialReaped(9, REAPED))
    assert finish(log) is None
    log.client = real
    return stored(log), client


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> list[Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "mlflow.db").write_bytes(mlflow_tables.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_run, "FLUSH_SECONDS", 0.0)
        patch.setattr(trial_run, "draw_gradient_flow", lambda *args: None)
        patch.setattr(trial_run, "png", lambda figure: A_PIXEL)
        found, client = log_study(folder, WRITES, (), lost=False)
    assert len(client.calls) == NUM_WRITES
    return list(found)


def test_an_undisturbed_study_is_stored_whole(undisturbed: list[Any]) -> None:
    runs, views = undisturbed
    assert len(views) == 1
    by_name = {
        name: (status, tags, params, curves, files) for (name, status, _), (tags, _, params, _), curves, files in runs
    }
    assert {name: rest[0] for name, rest in by_name.items()} == {
        "s": "FINISHED",
        "t000 x seed 0": "FAILED",
        "t001 relu 3x100 nadam retry 1": "KILLED",
        "t009": "FAILED",
    }
    _, tags, params, curves, files = by_name["t001 relu 3x100 nadam retry 1"]
    assert curves["valid_accuracy"] == [(1, 0.4), (2, 0.5)]
    assert len(params) > 30
    assert files == ["config.yaml", "gradient_flow.png", "images"]
    assert tags["outcome"] == "diverged"


@pytest.mark.parametrize("call", range(NUM_WRITES))
def test_the_answer_to_a_write_is_lost(call: int, workspace: Path, undisturbed: list[Any]) -> None:
    found, client = log_study(workspace, WRITES, {call}, lost=True)
    assert client.num_failed == 1
    assert found == undisturbed


@pytest.mark.parametrize("lost", [False, True])
def test_every_call_fails_at_first(lost: bool, workspace: Path, undisturbed: list[Any]) -> None:
    found, client = log_study(workspace, EVERY_CALL, None, lost)
    assert client.num_failed > NUM_WRITES
    assert found == undisturbed


def test_a_database_that_goes_and_comes_back(log: StudyLog, workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start(log)
    assert log.background is not None
    database = sqlite3.connect(workspace / "mlflow.db", isolation_level=None)
    database.execute("ALTER TABLE runs RENAME TO gone")
    log.event(TrialStarted(0, {}, CONFIG, started=1000.0))
    log.event(EpochEnded(0, epoch(1)))
    while log.background._last_error is None:  # until it has noticed
        log.background.thread.join(0.01)
    assert isinstance(log.background._last_error, MlflowException)
    database.execute("ALTER TABLE gone RENAME TO runs")
    log.event(TrialEnded(0, TrialResult("complete", 0.5, 1)))
    assert finish(log) is None
    assert run_of(log, 0).info.status == "FINISHED"
    assert "Traceback" not in capfd.readouterr().err


def test_a_value_that_is_refused_ends_the_logging_but_leaves_no_run_running(log: StudyLog) -> None:
    parent = start(log, fate=lambda number: "complete")
    log.event(TrialStarted(0, {}, CONFIG | {"x": {"y": "a"}}, started=1000.0))
    log.event(EpochEnded(0, epoch(1)))
    log.event(TrialStarted(1, {}, CONFIG | {"a name/that MLflow: refuses!": 1}, started=1000.0))
    log.event(EpochEnded(1, epoch(1)))
    log.event(TrialStarted(2, {}, CONFIG, started=1000.0))
    log.event(EpochEnded(2, epoch(1)))
    error = finish(log)
    assert error is not None
    assert error.startswith('MlflowException: Invalid value "a name')
    assert [run.info.status for number in (0, 1) for run in runs_of(log, number)] == ["FINISHED", "FINISHED"]
    assert runs_of(log, 2) == []
    assert log.client.get_run(parent).info.status == "FINISHED"


def test_a_store_that_stays_away_costs_a_study_its_log_only(log: StudyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "GIVE_UP_SECONDS", 0.05)
    start(log)
    assert log.background is not None
    client = FailingClient(log.client, ("create_run",), range(1000))
    assert log.tracker is not None
    log.tracker.runs.client = client  # type: ignore[assignment]
    log.event(TrialStarted(0, {}, CONFIG, started=1000.0))
    log.event(TrialEnded(0, TrialResult("complete", 0.5)))
    assert finish(log) == "ConnectionError: the server is gone"
    assert client.num_failed > 1


def test_a_store_that_is_away_at_the_end_is_not_waited_for_long(log: StudyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "CLOSE_SECONDS", 0.1)
    start(log)
    assert log.background is not None
    assert log.tracker is not None
    log.tracker.runs.client = FailingClient(log.client, ("create_run",), range(10**6))  # type: ignore[assignment]
    log.event(TrialStarted(0, {}, CONFIG, started=1000.0))
    log.event(TrialEnded(0, TrialResult("complete", 0.5)))
    assert finish(log) == "ConnectionError: the server is gone"
    log.background.thread.join(60)
    assert not log.background.thread.is_alive()


@pytest.mark.parametrize("call", ["get_run", "search_runs", "create_run", "log_batch", "update_run"])
def test_a_study_cannot_begin_without_its_store(
    call: str, log: StudyLog, beside: StudyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = start(beside) if call == "get_run" else None
    log.client = FailingClient(log.client, (call,), range(10**6))  # type: ignore[assignment]
    monkeypatch.setattr("pipeline.tracking.study_log.persist", lambda do: persist(do, seconds=0.05))
    with pytest.raises(TrackingError, match=r"mlflow.db cannot be used: the server is gone. Check --tracking-uri"):
        start(log, parent)


def mlflow_error(code: str) -> MlflowException:
    error = MlflowException("x")
    error.error_code = code
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (mlflow_error("TEMPORARILY_UNAVAILABLE"), True),  # what it makes of a database's OperationalError
        (mlflow_error("INTERNAL_ERROR"), True),  # of a server that refuses the connection
        (mlflow_error("BAD_REQUEST"), True),
        (mlflow_error("INVALID_PARAMETER_VALUE"), False),
        (mlflow_error("RESOURCE_DOES_NOT_EXIST"), False),
        (mlflow_error("PERMISSION_DENIED"), False),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (PermissionError(), False),
        (TypeError(), False),
        (KeyError(), False),
        (RuntimeError(), True),
    ],
)
def test_what_is_worth_waiting_for(error: Exception, passes: bool) -> None:
    assert is_passing(error) is passes


def test_pauses_grow_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 30.0)
    pauses: list[float] = []
    now = 0.0

    def wait(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    def fail() -> None:
        raise ConnectionError

    monkeypatch.setattr(patience.time, "monotonic", lambda: now)
    with pytest.raises(ConnectionError):
        persist(fail, seconds=100.0, wait=wait)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
