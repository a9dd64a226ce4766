"""Gradient flow in a real MLflow store: curves by layer, the verdict's tags, and the figure."""

from pathlib import Path
from typing import Any

from pipeline.events import EpochEnded, TrialEnded, TrialStarted
from pipeline.records import LayerFlow, Outcome, TrialResult, Verdict, VerdictWord
from pipeline.tracking.naming import MAX_REASON_LENGTH, NOTE, curves_of, note_of, run_name, tags_of
from pipeline.tracking.study_log import StudyLog
from tests.tracking.logs import CONFIG, epoch, finish, start

TEXT = "the gradient at layer 1 is 0.25 of that at layer 2"


def flow(scale: float = 1.0) -> tuple[LayerFlow, ...]:
    """Two hidden ReLU layers and the output."""
    return (
        LayerFlow(1, "body.0", 0.1, 0.5 * scale, 1e-3, 0.2, 1.0, dead=0.25),
        LayerFlow(2, "body.3", 0.2, 2.0 * scale, 2e-3, 0.3, 1.1, dead=0.0),
        LayerFlow(3, "head", 0.4, 4.0 * scale, 3e-3, 0.0, 1.2),
    )


def result(outcome: Outcome, word: VerdictWord | None) -> TrialResult:
    return TrialResult(outcome, 0.5, 2, verdict=None if word is None else Verdict(word, TEXT))


def log_trials(log: StudyLog, *ended: TrialResult, flows: list[tuple[LayerFlow, ...]]) -> list[Any]:
    """Logs trials that all had the same epochs; returns their runs."""
    start(log)
    for number, each in enumerate(ended):
        log.event(TrialStarted(number, {}, CONFIG, started=1000.0))
        for index, layers in enumerate(flows):
            log.event(EpochEnded(number, epoch(index + 1, layers=layers)))
        log.event(TrialEnded(number, each))
    assert finish(log) is None
    runs = log.client.search_runs([log.experiment], "tags.kind = 'trial'")
    return sorted(runs, key=lambda run: int(run.data.tags["trial"]))


def artifacts(log: StudyLog, run: Any) -> list[str]:
    return [artifact.path for artifact in log.client.list_artifacts(run.info.run_id)]


def test_each_layer_has_its_curves(log: StudyLog) -> None:
    (run,) = log_trials(log, result("complete", "healthy"), flows=[flow(), flow(10.0)])
    by_layer = {name: value for name, value in run.data.metrics.items() if name.startswith("gradient_flow/")}
    figures = ("weight_gradient", "gradient", "update_ratio", "mean", "std")
    expected = {f"gradient_flow/{name}/{layer:02d}" for name in figures for layer in (1, 2, 3)}
    # the output has no units that could be dead, and no layer is saturated
    expected |= {"gradient_flow/dead/01", "gradient_flow/dead/02", "gradient_flow/first_to_last"}
    assert set(by_layer) == expected
    assert by_layer["gradient_flow/update_ratio/03"] == 3e-3
    curve = log.client.get_metric_history(run.info.run_id, "gradient_flow/gradient/01")
    assert [(point.step, point.value) for point in curve] == [(1, 0.5), (2, 5.0)]
    ratio = log.client.get_metric_history(run.info.run_id, "gradient_flow/first_to_last")
    assert [(point.step, point.value) for point in ratio] == [(1, 0.25), (2, 0.25)]


def test_an_epoch_without_measurement_has_no_point(log: StudyLog) -> None:
    (run,) = log_trials(log, result("complete", "healthy"), flows=[flow(), (), flow()])
    curve = log.client.get_metric_history(run.info.run_id, "gradient_flow/gradient/02")
    assert [point.step for point in curve] == [1, 3]
    assert len(log.client.get_metric_history(run.info.run_id, "valid_loss")) == 3
    assert "gradient_flow.png" in artifacts(log, run)


def test_the_verdict_is_what_runs_are_filtered_by(log: StudyLog) -> None:
    ended = [result("complete", "healthy"), result("pruned", "vanishing"), result("complete", None)]
    runs = log_trials(log, *ended, flows=[flow()])
    assert [run.data.tags.get("verdict") for run in runs] == ["healthy", "vanishing", None]
    assert [run.data.tags.get("gradient_flow") for run in runs] == [TEXT, TEXT, None]
    found = log.client.search_runs([log.experiment], "tags.verdict = 'vanishing'")
    assert [run.info.run_id for run in found] == [runs[1].info.run_id]


def test_complete_and_unhealthy_trials_have_a_figure(log: StudyLog) -> None:
    expected = {
        result("complete", "healthy"): True,
        result("complete", "dead"): True,
        result("complete", None): True,
        result("pruned", "vanishing"): True,
        result("diverged", "exploding"): True,
        result("interrupted", "dead"): True,
        result("pruned", "healthy"): False,
        result("pruned", None): False,
        result("interrupted", "healthy"): False,
    }
    runs = log_trials(log, *expected, flows=[flow(), flow()])
    assert ["gradient_flow.png" in artifacts(log, run) for run in runs] == list(expected.values())
    file = log.client.download_artifacts(runs[0].info.run_id, "gradient_flow.png")
    assert Path(file).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_trial_without_measurements_has_neither_curves_nor_a_figure(log: StudyLog) -> None:
    (run,) = log_trials(log, result("complete", None), flows=[(), ()])
    assert not [name for name in run.data.metrics if name.startswith("gradient_flow")]
    assert artifacts(log, run) == ["config.yaml"]


def test_a_deep_networks_curves_take_several_requests(log: StudyLog) -> None:
    deep = tuple(LayerFlow(layer, f"body.{layer}", 0.1, 0.5, 1e-3, 0.2, 1.0, dead=0.0) for layer in range(1, 121))
    (run,) = log_trials(log, result("complete", "healthy"), flows=[deep, deep])
    assert run.data.metrics["gradient_flow/gradient/120"] == 0.5
    assert len([name for name in run.data.metrics if name.startswith("gradient_flow/gradient/")]) == 120
    assert len(log.client.get_metric_history(run.info.run_id, "gradient_flow/dead/99")) == 2


def test_layers_are_named_so_that_they_sort() -> None:
    names = [name for name in curves_of(epoch(1, layers=flow())) if name.startswith("gradient_flow/gradient/")]
    assert names == ["gradient_flow/gradient/01", "gradient_flow/gradient/02", "gradient_flow/gradient/03"]


def test_a_case_is_what_its_run_is_called() -> None:
    assert run_name(4, CONFIG, {"case": "clip: none", "seed": 0}) == "t004 clip: none seed 0"


def test_a_long_reason_is_cut() -> None:
    tags = tags_of(TrialResult("failed", reason="x" * 9000))
    assert tags["reason"] == "x" * MAX_REASON_LENGTH
    assert len(tags[NOTE]) < 2 * MAX_REASON_LENGTH


def test_a_runs_description_says_how_it_went() -> None:
    assert note_of(result("complete", "healthy")) == f"complete; healthy: {TEXT}"
    pruned = TrialResult("pruned", 0.5, 4, reason="after epoch 4", same_as=7)
    assert note_of(pruned) == "pruned: after epoch 4; the configuration of trial 7, whose result it has"


def test_the_figures_of_all_runs_are_at_one_step_of_the_image_grid(log: StudyLog) -> None:
    runs = log_trials(log, result("complete", "healthy"), result("pruned", "healthy"), flows=[flow(), flow()])
    images = [log.client.list_artifacts(run.info.run_id, "images") for run in runs]
    assert images[1] == []
    names = [image.path.split("+") for image in images[0]]
    assert {tuple(parts[:3]) for parts in names} == {("images/gradient_flow", "step", "0")}
    assert sorted(parts[-1].partition(".")[2] or parts[-1] for parts in names) == ["png", "webp"]
    assert [run.data.tags.get("mlflow.loggedImages") for run in runs] == ["True", None]
