import pytest

from pipeline.config.study import StudyConfig
from pipeline.core.errors import SpaceError
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import parse


def read(study: str) -> SpaceFile:
    return read_space(parse(f"study: {{{study}}}\nspace: {{data: {{name: digits}}}}", "f.yaml"), "f")


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
            "study.metrics: must begin with a metric that is known after every epoch, for pruning. Put valid_loss or "
            "valid_accuracy first; got ['latency_ms', 'valid_loss']",
        ),
        ("metrics: num_parameters", "must begin with a metric that is known after every epoch"),
        ("metrics: [valid_loss, valid_loss]", "may have each metric once. Drop the second valid_loss; got"),
        ("metrics: []", "must name at least one of valid_accuracy, valid_loss, latency_ms, num_parameters; got []"),
        ("metrics: acc", "must be 'valid_accuracy', 'valid_loss', 'latency_ms' or 'num_parameters'; got 'acc'"),
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
