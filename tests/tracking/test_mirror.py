"""A study's runs in a real MLflow store: what they say, and that they come to say what the storage has."""

import dataclasses
from typing import Any

import pytest

from pipeline.core.errors import TrackingError
from pipeline.records.results import Outcome, TrialResult, Verdict
from pipeline.tracking import store
from pipeline.tracking.expected_run import Point, TrialRecord, points_of
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import open_client
from tests.tracking.logs import CONFIG, curves, record, runs_of, study


def write(mirror: Mirror, *records: TrialRecord) -> dict[int, Any]:
    for each in records:
        mirror.write(each)
    return runs_of(mirror)


class Broken:
    """A client one of whose calls fails, after it has been carried out."""

    def __init__(self, client: Any, method: str) -> None:
        self.client, self.method = client, method

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.client, name)
        if name != self.method:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            real(*args, **kwargs)
            raise ConnectionError("the answer is lost")

        return call


def test_a_trial_has_parameters_curves_figures_and_times(mirror: Mirror) -> None:
    run = write(mirror, record(3))[3]
    assert (run.info.run_name, run.info.status) == ("t003 relu 3x100 nadam", "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (1_000_000, 1_005_000)
    expected = {"optimizer.lr": "0.01", "optimizer.lr.log10": "-2.000", "study": "s", "model.batch_norm": "before"}
    assert expected.items() <= run.data.params.items()
    tags = {"study": "s", "kind": "trial", "dataset": "digits", "device": "cpu", "outcome": "complete", "trial": "3"}
    assert tags.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.parentRunId"] == mirror.parent
    curve = mirror.client.get_metric_history(run.info.run_id, "valid_accuracy")
    assert [(point.step, point.value, point.timestamp) for point in curve] == [(1, 0.1, 1_001_000), (2, 0.2, 1_002_000)]
    figures = {"best_valid_accuracy": 0.6, "best_epoch": 2, "num_parameters": 99, "seconds": 5.0, "objective": 0.6}
    assert figures.items() <= run.data.metrics.items()
    assert run.data.metrics["gradient_flow/gradient/02"] == 4.0
    assert run.data.metrics["gradient_flow/first_to_last"] == 0.125


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("pruned", "KILLED"), ("diverged", "KILLED"), ("failed", "FAILED"), ("complete", "FINISHED")],
)
def test_outcomes_are_told_apart(mirror: Mirror, outcome: Outcome, status: str) -> None:
    result = TrialResult(outcome, reason="so", traceback="Traceback", verdict=Verdict("dead", "layer 1"))
    run = write(mirror, record(0, outcome, result=result))[0]
    assert run.info.status == status
    assert {"outcome": outcome, "reason": "so", "verdict": "dead"}.items() <= run.data.tags.items()
    assert [artifact.path for artifact in mirror.client.list_artifacts(run.info.run_id)] == ["traceback.txt"]


def test_what_is_not_finite_agrees_once_it_is_written(mirror: Mirror) -> None:
    values = {**curves(3), "train_loss": [float("inf"), float("nan"), float("nan")], "valid_loss": [float("-inf")] * 3}
    write(mirror, record(0, "diverged", epochs=3, curves=values))
    mirror.look()
    assert mirror.disagreements([record(0, "diverged", epochs=3, curves=values)]) == {}


def test_a_trial_that_died_before_its_configuration_was_recorded(mirror: Mirror) -> None:
    dead = record(0, "failed", config=None, params={"case": "x"}, curves={})
    run = write(mirror, dead)[0]
    assert (run.info.run_name, run.data.params) == ("t000", {"study": "s", "case": "x"})


def test_storage_and_runs_are_compared_trial_by_trial(mirror: Mirror) -> None:
    records = [record(number) for number in range(5)]
    write(mirror, *records, record(9))
    client, runs = mirror.client, runs_of(mirror)
    client.delete_run(runs[0].info.run_id)
    client.update_run(runs[1].info.run_id, status="RUNNING")
    client.set_tag(runs[2].info.run_id, "outcome", "pruned")
    client.log_metric(runs[3].info.run_id, "objective", 0.7, timestamp=3_000_000, step=2)
    mirror.look()
    assert mirror.disagreements([*records, record(5, None), record(6, "interrupted")]) == {
        0: ["it has no run"],
        1: ["its status is RUNNING, and not FINISHED"],
        2: ["tag outcome"],
        3: ["metric objective"],
        9: ["the storage has no such trial"],
    }


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_text", "set_terminated"])
def test_what_was_half_written_is_written_by_the_next_one(mirror: Mirror, beside: Mirror, call: str) -> None:
    failed = record(0, "failed", result=TrialResult("failed", None, 2, traceback="Traceback"))
    real: Any = mirror.client
    mirror.client = Broken(real, call)  # type: ignore[assignment]
    with pytest.raises(ConnectionError):
        mirror.write(failed)
    beside.look()
    beside.trust([failed])
    if not beside.is_written(failed):
        beside.write(failed)
    beside.look()
    assert beside.disagreements([failed]) == {}
    (run,) = runs_of(beside).values()
    assert len(beside.client.get_metric_history(run.info.run_id, "valid_accuracy")) == 2


def test_what_agrees_is_not_written_again(mirror: Mirror, beside: Mirror) -> None:
    records = [record(0), record(1, "pruned"), record(2, None), record(3, "interrupted")]
    write(mirror, *records[:2])
    beside.look()
    beside.trust(records)
    assert all(beside.is_written(each) for each in records)


def test_of_two_runs_of_a_trial_one_stays(mirror: Mirror, beside: Mirror) -> None:
    mirror.write(record(0))
    beside.write(record(0))
    beside.look()
    assert list(runs_of(mirror)) == [0]


def test_a_trial_that_runs_is_watched_and_ended_without_a_second_point(mirror: Mirror) -> None:
    mirror.begin_live(record(0, None))
    mirror.log_live(0, [point for point in points_of(curves(2)) if point.step == 1], epoch=1)
    run = runs_of(mirror)[0]
    assert (run.info.status, run.data.metrics["valid_accuracy"]) == ("RUNNING", 0.1)
    mirror.write(record(0))
    assert runs_of(mirror)[0].info.status == "FINISHED"
    assert len(mirror.client.get_metric_history(run.info.run_id, "valid_accuracy")) == 2


def test_an_interrupted_trial_goes_on_in_its_run(mirror: Mirror, beside: Mirror) -> None:
    mirror.begin_live(record(0, None))
    mirror.log_live(0, [point for point in points_of(curves(2)) if point.step == 1], epoch=1)
    mirror.end_live(record(0, "interrupted"))
    assert (runs_of(mirror)[0].info.status, runs_of(mirror)[0].data.tags["outcome"]) == ("KILLED", "interrupted")
    beside.begin_live(record(0, None))
    assert runs_of(mirror)[0].info.status == "RUNNING"
    beside.log_live(0, [point for point in points_of(curves(2)) if point.step == 1], epoch=1)
    mirror.look_at_open()
    mirror.write(record(0, "pruned"))
    run = runs_of(mirror)[0]
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "pruned")
    assert len(mirror.client.get_metric_history(run.info.run_id, "valid_accuracy")) == 2


def test_a_trial_that_was_drawn_otherwise_gets_a_new_run(mirror: Mirror) -> None:
    mirror.begin_live(record(0, None, config={**CONFIG, "epochs": 7}))
    mirror.look()
    mirror.write(record(0))
    assert runs_of(mirror)[0].data.params["epochs"] == str(CONFIG["epochs"])


def test_a_retry_takes_its_trials_place(mirror: Mirror) -> None:
    failed = record(0, "failed")
    mirror.write(failed)
    again = dataclasses.replace(failed, retried_as=1)
    assert not mirror.is_written(again)
    runs = write(mirror, again, record(1, retry=1, retry_of=0))
    assert runs[0].data.tags["superseded_by"] == "1"
    assert runs[1].data.tags["retry_of"] == "0"
    assert runs[1].info.run_name.endswith("retry 1")


def test_the_study_has_a_run_of_its_own_and_keeps_it(mirror: Mirror, beside: Mirror) -> None:
    assert beside.parent == mirror.parent
    mirror.begin_study(study(outcome=None))
    assert mirror.client.get_run(mirror.parent).info.status == "RUNNING"
    mirror.write_study(study())
    run = mirror.client.get_run(mirror.parent)
    assert (run.info.run_name, run.info.status, run.data.tags["outcome"]) == ("s", "FINISHED", "complete")
    assert run.data.metrics["seconds"] == 3.0
    assert [artifact.path for artifact in mirror.client.list_artifacts(mirror.parent)] == ["best_config.yaml"]
    assert not beside.study_differs(study())
    assert beside.study_differs(study(outcome="interrupted"))


def test_the_best_trial_has_a_figure_and_no_other(mirror: Mirror) -> None:
    runs = write(mirror, record(0), record(1))
    mirror.draw_best(record(0))
    mirror.draw_best(record(0))
    names = [[file.path for file in mirror.client.list_artifacts(runs[number].info.run_id)] for number in (0, 1)]
    assert names == [["gradient_flow.png", "images"], []]


def test_a_deleted_run_is_not_gone_on_with(mirror: Mirror) -> None:
    before = mirror.parent
    mirror.client.delete_run(before)
    assert mirror.adopt(before, 1000.0) != before
    assert mirror.adopt("0" * 32, 1000.0) == mirror.parent


def test_a_deep_networks_curves_take_several_requests(mirror: Mirror) -> None:
    deep = {**curves(2), "gradient_flow": [[epoch, [0.5] * 600] for epoch in (1, 2)]}
    run = write(mirror, record(0, curves=deep))[0]
    assert run.data.metrics["gradient_flow/gradient/600"] == 0.5


def test_all_pages_are_read(mirror: Mirror, beside: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE", 2)
    write(mirror, *map(record, range(5)))
    beside.look()
    assert sorted(beside.runs) == [0, 1, 2, 3, 4]


def test_points_of_one_layer() -> None:
    one = {**curves(1), "gradient_flow": [[1, [0.0]]]}
    assert Point("gradient_flow/first_to_last", 0.0, 1_001_000, 1) in points_of(one)
    assert points_of({}) == []


@pytest.mark.parametrize("uri", ["sqlite:////proc/nothing/mlflow.db", "http://127.0.0.1:1"])
def test_a_store_that_cannot_be_used(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="cannot be used"):
        open_client(uri)
