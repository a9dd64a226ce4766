"""Importances of studies whose answer is known."""

import io
import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from pipeline.analysis.importance import MIN_TRIALS, Importance, importances
from pipeline.config.metrics import Direction
from pipeline.core.errors import StudyError
from pipeline.display.tables import importance_table

UNIT = FloatDistribution(0.0, 1.0)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "decides": UNIT,
    "nothing": UNIT,
    "block.kind": CategoricalDistribution(["a", "b"]),
    "block.a.x": UNIT,
    "block.b.y": UNIT,
}
Params = dict[str, Any]


def add(study: optuna.Study, params: Params, value: float | None, state: TrialState = TrialState.COMPLETE) -> None:
    distributions = {name: DISTRIBUTIONS[name] for name in params}
    study.add_trial(create_trial(params=params, distributions=distributions, value=value, state=state))


def drawn(count: int, num_b: int | None = None) -> list[Params]:
    """Random points; kind b for the last so many, or for every second one."""
    generator = random.Random(0)
    points = []
    for index in range(count):
        is_b = index % 2 == 1 if num_b is None else index >= count - num_b
        kind, own = ("b", "block.b.y") if is_b else ("a", "block.a.x")
        point: Params = {"decides": generator.random(), "nothing": generator.random(), "block.kind": kind}
        points.append({**point, own: generator.random()})
    return points


def study_of(points: list[Params], value: Callable[[Params], float]) -> optuna.Study:
    study = optuna.create_study(study_name="known", direction="maximize")
    for point in points:
        add(study, point, value(point))
    return study


def by_name(rows: list[Importance]) -> dict[str, Importance]:
    return {row.parameter: row for row in rows}


def decided(point: Params) -> float:
    return float(point["decides"])


def test_what_decides_comes_first_by_both_measures() -> None:
    rows = importances(study_of(drawn(40), decided))
    assert rows[0].parameter == "decides"
    assert [row.ped_anova for row in rows] == sorted((row.ped_anova for row in rows), reverse=True)
    found = by_name(rows)
    assert set(found) == set(DISTRIBUTIONS)
    assert found["decides"].ped_anova > 5 * found["nothing"].ped_anova
    decides, nothing = found["decides"].fanova, found["nothing"].fanova
    assert decides is not None
    assert nothing is not None
    assert decides > 0.9
    assert nothing < 0.1
    assert (found["decides"].condition, found["decides"].trials) == (None, 40)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_of_several_metrics_the_first_one_counts(direction: Direction) -> None:
    alone = optuna.create_study(direction=direction)
    several = optuna.create_study(directions=[direction, "minimize"])
    for point in drawn(40):
        add(alone, point, point["decides"])
        distributions = {name: DISTRIBUTIONS[name] for name in point}
        values = [point["decides"], point["nothing"]]
        several.add_trial(create_trial(params=point, distributions=distributions, values=values))
    assert importances(several) == importances(alone)


def test_a_conditional_parameter_is_measured_where_it_exists() -> None:
    def value(point: Params) -> float:
        return float(point.get("block.a.x", 0.01 * point["nothing"]))

    found = by_name(importances(study_of(drawn(40, num_b=15), value)))
    x, kind = found["block.a.x"], found["block.kind"]
    assert (x.condition, x.trials) == ("block.kind = a", 25)
    assert (found["block.b.y"].condition, found["block.b.y"].trials) == ("block.kind = b", 15)
    assert (kind.condition, kind.trials) == (None, 40)
    # among the trials of kind a nothing else counts
    assert x.fanova is not None
    assert x.fanova > 0.8
    assert x.ped_anova > found["block.b.y"].ped_anova


def test_a_parameter_of_few_trials_has_one_measure() -> None:
    found = by_name(importances(study_of(drawn(40, num_b=MIN_TRIALS - 1), decided)))
    assert found["block.b.y"].trials == MIN_TRIALS - 1
    assert found["block.b.y"].fanova is None
    assert found["block.a.x"].fanova is not None


def test_trials_that_were_pruned_do_not_count() -> None:
    study = study_of(drawn(MIN_TRIALS - 1), decided)
    for point in drawn(5):
        add(study, point, None, TrialState.PRUNED)
    with pytest.raises(StudyError, match=f"study known has {MIN_TRIALS - 1}. Run more with --trials, or prune fewer"):
        importances(study)
    add(study, drawn(1)[0], 0.5)
    assert max(row.trials for row in importances(study)) == MIN_TRIALS


def test_the_same_study_has_the_same_importances() -> None:
    assert importances(study_of(drawn(20), decided)) == importances(study_of(drawn(20), decided))


def test_the_table_has_a_row_for_each_parameter() -> None:
    rows = [
        Importance("optimizer.kind", None, 40, 0.7, 0.5),
        Importance("optimizer.sgd.lr", "optimizer.kind = sgd", 5, 0.3, None),
    ]
    console = Console(file=io.StringIO(), width=180)
    console.print(importance_table("known", rows))
    assert isinstance(console.file, io.StringIO)
    title, *lines = console.file.getvalue().splitlines()
    assert title.strip() == "known: what mattered, of 40 complete trials"
    (kind,) = [line for line in lines if "optimizer.kind " in line and "0.700" in line]
    (rate,) = [line for line in lines if "optimizer.sgd.lr" in line]
    assert "0.500" in kind
    assert "40" in kind
    assert "optimizer.kind = sgd" in rate
    assert "0.300" in rate


def test_trials_that_all_have_one_value_are_no_crash() -> None:
    try:
        rows = importances(study_of(drawn(40), lambda point: 0.5))
    except StudyError:
        return
    assert all(row.fanova is None for row in rows)


def test_a_kind_whose_trials_all_have_one_value_is_no_crash() -> None:
    def value(point: Params) -> float:
        return 0.1 if point["block.kind"] == "a" else decided(point)

    found = by_name(importances(study_of(drawn(40), value)))
    assert found["block.a.x"].fanova is None
    assert found["block.b.y"].fanova is not None


def test_a_function_may_draw_either_of_two_parameters() -> None:
    study = optuna.create_study()
    for index, point in enumerate(drawn(40)):
        kept = "decides" if index % 2 else "nothing"
        add(study, {"block.kind": point["block.kind"], kept: point[kept]}, point[kept])
    found = by_name(importances(study))
    assert (found["decides"].condition, found["decides"].trials) == ("not in every trial", 20)
