"""A study's runs in a real MLflow store."""

from typing import Any

import pytest

from pipeline.config import TrialConfig
from pipeline.errors import TrackingError
from pipeline.events import EpochEnded, TrialEnded, TrialStarted
from pipeline.records import TrialResult
from pipeline.tracking import trial_run
from pipeline.tracking.naming import run_name
from pipeline.tracking.store import open_client
from pipeline.tracking.study_log import StudyLog
from tests.tracking.logs import CONFIG, close, epoch, finish, run_of, start


def log_trial(log: StudyLog, number: int, result: TrialResult, epochs: int = 2) -> Any:
    log.event(TrialStarted(number, {}, CONFIG, started=1000.0))
    for index in range(epochs):
        log.event(EpochEnded(number, epoch(index + 1, 0.5 + index / 10)))
    log.event(TrialEnded(number, result))
    finish(log)
    return run_of(log, number)


def test_a_trial_has_parameters_curves_figures_and_its_configuration(log: StudyLog) -> None:
    parent = start(log)
    result = TrialResult("complete", 0.6, 2, 2, 0.6, 0.4, 1234, 999.0, 5.0)
    run = log_trial(log, 3, result)
    assert run.info.run_name == "t003 relu 3x100 nadam"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1_000_000, 1_005_000)
    assert run.data.params["optimizer.lr"] == "0.01"
    assert run.data.params["optimizer.lr.log10"] == "-2.000"
    assert run.data.params["study"] == "s"
    assert run.data.params["model.batch_norm"] == "before"
    assert run.data.tags["mlflow.parentRunId"] == parent
    for name, value in {
        "study": "s",
        "kind": "trial",
        "dataset": "digits",
        "device": "cpu",
        "outcome": "complete",
    }.items():
        assert run.data.tags[name] == value
    assert run.data.tags["version.torch"]
    curve = log.client.get_metric_history(run.info.run_id, "valid_accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 0.6)]
    for name in ("train_loss", "valid_loss", "train_accuracy", "lr", "gradient_norm", "clipped"):
        assert len(log.client.get_metric_history(run.info.run_id, name)) == 2
    figures = {"best_valid_accuracy": 0.6, "best_epoch": 2, "num_parameters": 1234, "seconds": 5.0, "objective": 0.6}
    for name, value in figures.items():
        assert run.data.metrics[name] == value
    assert [artifact.path for artifact in log.client.list_artifacts(run.info.run_id)] == ["config.yaml"]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (TrialResult("pruned", 0.5, 2, reason="after epoch 2"), "KILLED"),
        (TrialResult("diverged", reason="the training loss at step 3 is not finite, in epoch 1"), "KILLED"),
        (TrialResult("interrupted", reason="after epoch 1"), "KILLED"),
        (TrialResult("failed", reason="ValueError: x", traceback="Traceback ..."), "FAILED"),
    ],
)
def test_outcomes_are_told_apart(log: StudyLog, result: TrialResult, status: str) -> None:
    start(log)
    run = log_trial(log, 0, result)
    assert run.info.status == status
    assert run.data.tags["outcome"] == result.outcome
    assert run.data.tags["reason"] == result.reason
    artifacts = [artifact.path for artifact in log.client.list_artifacts(run.info.run_id)]
    assert ("traceback.txt" in artifacts) == (result.outcome == "failed")


def test_a_long_trial_is_logged_while_it_runs(log: StudyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "FLUSH_SECONDS", 0.0)
    start(log)
    log.event(TrialStarted(0, {}, CONFIG, started=1000.0))
    log.event(EpochEnded(0, epoch(1, 0.5)))
    close(log)
    run = run_of(log, 0)
    assert run.info.status == "RUNNING"
    assert run.data.metrics["valid_accuracy"] == 0.5


def test_the_study_has_a_run_of_its_own_and_keeps_it(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    assert finish(log) is None
    run = log.client.get_run(parent)
    assert (run.info.run_name, run.info.status) == ("s", "FINISHED")
    assert run.data.tags["kind"] == "study"
    assert run.data.metrics["seconds"] == 3.0
    assert [artifact.path for artifact in log.client.list_artifacts(parent)] == ["best_config.yaml"]
    assert start(beside, parent) == parent
    assert beside.client.get_run(parent).info.status == "RUNNING"
    finish(beside)


def test_a_list_of_widths_is_in_the_name() -> None:
    config = TrialConfig.model_validate({"data": {"name": "digits"}, "model": {"width": [30, 20]}}).plain()
    assert run_name(7, config, {}) == "t007 relu 30-20 adamw"
    assert run_name(7, config, {}, 2) == "t007 relu 30-20 adamw retry 2"
    assert run_name(7, config, {"case": "x"}, 1) == "t007 x seed 0 retry 1"


@pytest.mark.parametrize("uri", ["sqlite:////proc/nothing/mlflow.db", "http://127.0.0.1:1"])
def test_a_store_that_cannot_be_used(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="cannot be used"):
        open_client(uri)
