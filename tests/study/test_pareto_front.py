import json
from collections.abc import Sequence

import optuna
import pytest

from pipeline.core.errors import StudyError
from pipeline.records.results import TrialResult
from pipeline.study.attributes import METRICS
from pipeline.study.pareto_front import pareto_front, preferred_trial
from pipeline.study.summary import ParetoPoint, pareto_points
from pipeline.study.trials import best_trials, finish
from tests.made_studies import made

# Accuracy (more is better) and latency (less is).
POINTS = [(0.90, 2.0), (0.92, 3.0), (0.92, 2.5), (0.80, 1.0), (0.80, 1.0), (0.85, 2.0), (0.70, 0.5), (0.60, 0.6)]


def front(points: Sequence[Sequence[float]], metrics: Sequence[str] = ("valid_accuracy", "latency_ms")) -> list[int]:
    return [trial.number for trial in pareto_front(made(points, metrics))]


def test_nobody_dominates_the_front_and_equals_are_all_on_it() -> None:
    assert front(POINTS) == [2, 0, 3, 4, 6]


def test_the_front_is_that_of_its_definition() -> None:
    study = made([(round(0.37 * n % 1, 2), round(0.61 * n % 1, 1)) for n in range(60)])

    def dominated(one: optuna.trial.FrozenTrial) -> bool:
        (accuracy, latency) = one.values
        return any(
            other.values[0] >= accuracy and other.values[1] <= latency and other.values != one.values
            for other in best_trials(study)
        )

    expected = {trial.number for trial in best_trials(study) if not dominated(trial)}
    assert {trial.number for trial in pareto_front(study)} == expected
    assert 3 < len(expected) < 40


def test_three_metrics_have_a_front_too() -> None:
    points = [(0.9, 1.0, 500.0), (0.9, 1.0, 400.0), (0.8, 2.0, 300.0), (0.8, 2.0, 301.0)]
    assert front(points, ("valid_accuracy", "latency_ms", "num_parameters")) == [1, 2]


def test_with_one_metric_the_best_are_the_front_and_none_is_told() -> None:
    study = made([(0.5,), (0.7,), (0.7,)], ("valid_accuracy",))
    assert [trial.number for trial in pareto_front(study)] == [1, 2]
    assert pareto_points(study) == ()


def test_a_study_without_complete_trials_has_no_front() -> None:
    assert front([]) == []


def test_the_front_is_told_in_plain_values() -> None:
    points = pareto_points(made(POINTS))
    assert points[0] == ParetoPoint(2, {"valid_accuracy": 0.92, "latency_ms": 2.5})
    assert json.dumps([point.values for point in points])


@pytest.mark.parametrize(("within", "expected"), [(0.0, 2), (0.02, 0), (0.12, 3), (0.5, 6)])
def test_the_fastest_of_the_nearly_best_is_preferred(within: float, expected: int) -> None:
    assert preferred_trial(made(POINTS), within=within, prefer="latency_ms").number == expected


def test_the_bound_belongs_to_what_is_near() -> None:
    study = made([(0.9, 2.0), (0.895, 1.0)])
    assert preferred_trial(study, within=0.005, prefer="latency_ms").number == 1


def test_the_smallest_can_be_preferred_in_any_study() -> None:
    study = optuna.create_study(direction="minimize")
    study.set_user_attr(METRICS, ["valid_loss"])
    for loss, size in ((0.30, 100), (0.31, 50), (0.40, 5)):
        finish(study, study.ask(), {}, TrialResult("complete", loss, num_parameters=size))
    assert preferred_trial(study, within=0.02, prefer="num_parameters").number == 1


def test_what_was_not_measured_cannot_be_preferred() -> None:
    study = made([(0.5,)], ("valid_accuracy",))
    with pytest.raises(StudyError, match=r"study made has valid_accuracy, num_parameters; got latency_ms\. Take one"):
        preferred_trial(study, within=0.1, prefer="latency_ms")
