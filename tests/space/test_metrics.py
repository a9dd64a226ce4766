from pathlib import Path

import pytest

from pipeline.config.metrics import METRICS, MetricRow, metric_names, register_metric
from pipeline.config.study import StudyConfig
from pipeline.core.errors import PluginError, SpaceError
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import parse


def read(study: str) -> SpaceFile:
    return read_space(parse(f"study: {{{study}}}\nspace: {{data: {{kind: digits}}}}", "f.yaml"), "f")


def test_a_word_is_a_list_of_one() -> None:
    settings = read("metrics: valid_loss").study
    assert settings.metrics == ("valid_loss",)
    assert (settings.metric, settings.direction, settings.directions) == ("valid_loss", "minimize", ("minimize",))


def test_directions_follow() -> None:
    settings = read("metrics: [valid_accuracy, latency_ms, num_parameters, valid_loss]").study
    assert settings.metric == "valid_accuracy"
    assert settings.directions == ("maximize", "minimize", "minimize", "minimize")


def test_settings_come_back_from_a_storage_as_they_were() -> None:
    settings = read("metrics: [valid_loss, num_parameters], sampler: gp").study
    assert StudyConfig.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        (
            "metrics: [latency_ms, valid_loss]",
            "study.metrics: must begin with a metric that is known after every epoch, for pruning. Put one of the "
            "valid_ metrics first; got ['latency_ms', 'valid_loss']",
        ),
        ("metrics: num_parameters", "must begin with a metric that is known after every epoch"),
        ("metrics: [valid_loss, valid_loss]", "may have each metric once. Drop the second valid_loss; got"),
        (
            "metrics: []",
            "must name at least one of valid_accuracy, valid_loss, valid_balanced_accuracy, ",
        ),
        ("metrics: acc", "must be one of valid_accuracy, valid_loss, valid_balanced_accuracy, valid_macro_f1,"),
        ("metrics: valid_macro_f2", "num_parameters (did you mean valid_macro_f1?); got 'valid_macro_f2'"),
        ("metrics: valid_recall", "must be one of "),
        ("metrics: 'valid_recall:'", "needs its CLASS behind the colon"),
        ("metrics: 'valid_auroc:3'", "must be one of "),
        ("metrics: 'valid_top_k_accuracy:1'", "K must be a whole number from 2 on, as in valid_top_k_accuracy:5"),
        ("metrics: 3", "study.metrics: must be a list; got 3"),
        ("metrics: {choice: [valid_loss]}", "study.metrics: cannot be searched"),
        ("metric: valid_loss", "study.metric: unknown setting. Did you mean metrics?"),
        (
            "metrics: [valid_accuracy, latency_ms], sampler: cmaes",
            "sampler: cmaes optimizes one metric; got valid_accuracy, latency_ms. Take tpe, gp, random, qmc or grid, "
            "or name one metric",
        ),
    ],
)
def test_metrics_that_cannot_be_are_refused_with_the_remedy(study: str, expected: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read(study)
    (problem,) = caught.value.problems
    assert expected in str(problem)
    assert problem.location == "f.yaml:1"


@pytest.mark.parametrize("monitor", ["latency_ms", "valid_f1"])
def test_what_is_not_known_after_every_epoch_cannot_be_watched(monitor: str) -> None:
    text = f"space: {{data: {{kind: digits}}, early_stopping: {{monitor: {monitor}}}}}"
    with pytest.raises(SpaceError) as caught:
        read_space(parse(text, "f.yaml"), "f")
    assert "early_stopping.monitor: must be one of valid_accuracy, valid_loss, " in str(caught.value)
    assert "latency_ms, " not in str(caught.value)


def test_the_page_on_metrics_lists_all_with_their_directions() -> None:
    page = (Path(__file__).parents[2] / "docs" / "imbalance.md").read_text(encoding="utf-8")
    for name in metric_names():
        row = METRICS[name.partition(":")[0]]
        better = "larger" if row.direction == "maximize" else "smaller"
        assert f"| `{name}` | {better} | {row.description} |" in page


def test_a_metric_may_be_added_once() -> None:
    row = MetricRow("maximize", "a test's", build=lambda argument, class_names: None, origin="a test")
    register_metric("valid_mine", row)
    try:
        assert read("metrics: [valid_mine, valid_loss]").study.directions == ("maximize", "minimize")
        with pytest.raises(PluginError, match=r"there is a metric valid_mine already \(a test\)"):
            register_metric("valid_mine", row)
    finally:
        del METRICS["valid_mine"]
    with pytest.raises(PluginError, match="must begin with valid_ and have no colon; got mine"):
        register_metric("mine", row)
