from typing import Any

import optuna
import pytest

from pipeline.records.results import TrialResult
from pipeline.scheduling.warm_start import allows, warm_start
from pipeline.space.files import read_space
from pipeline.space.tree import SearchSpace
from pipeline.space.yaml_text import parse
from pipeline.study.trials import finish

TEXT = """
space:
  data: {kind: digits}
  model: {width: {int: [10, 100]}}
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [0.01, 0.5], log: true}}
      - {kind: adamw, lr: {float: [1e-4, 1e-2], log: true}}
  epochs: 4
"""
SGD = {"model.width": 50, "optimizer.kind": "sgd", "optimizer.sgd.lr": 0.1}


@pytest.fixture
def space() -> SearchSpace:
    return read_space(parse(TEXT, "text"), "text").space


def study(*trials: tuple[float, dict[str, Any]]) -> optuna.Study:
    """A study in which trials had values and parameters."""
    made = optuna.create_study(direction="maximize")
    for value, params in trials:
        made.enqueue_trial(params)
        trial = made.ask()
        trial.suggest_int("model.width", 1, 1000)
        trial.suggest_categorical("optimizer.kind", ["sgd", "adamw"])
        trial.suggest_float("optimizer.sgd.lr", 0.0, 1.0)
        finish(made, trial, {}, TrialResult("complete", value=value))
    return made


def wide(width: int) -> dict[str, Any]:
    return {**SGD, "model.width": width}


def test_each_studys_best_comes_before_any_second(space: SearchSpace) -> None:
    last, before = study((0.5, wide(11)), (0.9, wide(12))), study((0.7, wide(13)), (0.6, wide(14)))
    points, left_out = warm_start(space, [last, before], 3)
    assert [point["model.width"] for point in points] == [12, 13, 11]
    assert left_out == 0


def test_what_the_space_has_not_got_any_more_is_left_out(space: SearchSpace) -> None:
    points, left_out = warm_start(space, [study((0.9, wide(500)), (0.8, wide(20)))], 5)
    assert [point["model.width"] for point in points] == [20]
    assert left_out == 1


def test_the_same_configuration_is_run_once(space: SearchSpace) -> None:
    points, _ = warm_start(space, [study((0.9, wide(20))), study((0.8, wide(20)))], 5)
    assert len(points) == 1


def test_no_study_is_no_start(space: SearchSpace) -> None:
    assert warm_start(space, [], 5) == ([], 0)


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        (SGD, True),
        ({"model.width": 50}, True),  # the rest is drawn
        ({**SGD, "optimizer.sgd.lr": 0.9}, False),
        ({**SGD, "optimizer.kind": "adam"}, False),
        ({**SGD, "optimizer.sgd.momentum": 0.9}, False),
        ({"optimizer.kind": "adamw", "optimizer.sgd.lr": 0.1}, False),
    ],
)
def test_what_a_space_allows(space: SearchSpace, params: dict[str, Any], fits: bool) -> None:
    assert allows(space, params) is fits
