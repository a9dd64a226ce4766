"""A study's trials and settings as its report shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from pipeline.figures.values import Axis, PlottedTrial
from pipeline.records.results import Outcome
from pipeline.space.distributions import format_value
from pipeline.space.tree import without_kinds
from pipeline.study.attributes import CONFIG, CURVES
from pipeline.study.trials import SEED, attempt_of, result_of
from pipeline.tracking.naming import run_name


@dataclass(frozen=True)
class Failure:
    """A trial that came to nothing, and why."""

    number: int
    name: str
    outcome: Outcome
    reason: str


def plotted_trials(study: optuna.Study) -> list[PlottedTrial]:
    """Returns the trials that have ended, in the order of their numbers."""
    return [plotted for trial in study.get_trials(deepcopy=False) if (plotted := _plotted(trial)) is not None]


def _plotted(trial: FrozenTrial) -> PlottedTrial | None:
    if (result := result_of(trial)) is None:
        return None
    reached = () if result.value is None else (result.value,)
    return PlottedTrial(
        number=trial.number,
        name=_name(trial),
        outcome=result.outcome,
        values=tuple(trial.values) if trial.values is not None else reached,
        settings={_path(trial, name): value for name, value in trial.params.items()},
        curves=trial.user_attrs.get(CURVES, {}),
        verdict="" if result.verdict is None else f"{result.verdict.label}: {result.verdict.text}",
    )


def failures(study: optuna.Study) -> list[Failure]:
    """Returns the trials that failed or diverged, with their reasons."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        result = result_of(trial)
        if result is not None and result.outcome in ("failed", "diverged"):
            found.append(Failure(trial.number, _name(trial), result.outcome, result.reason or "no reason recorded"))
    return found


def axes_of(study: optuna.Study) -> list[Axis]:
    """Returns an axis for each setting that is searched, those of a block beside each other.

    What several kinds of a block have, such as each optimizer's learning rate, is one setting: their ranges together.
    """
    ranges: dict[str, list[BaseDistribution]] = {}
    drawn: dict[str, list[Any]] = {}
    for trial in study.get_trials(deepcopy=False):
        for name, distribution in trial.distributions.items():
            path = _path(trial, name)
            drawn.setdefault(path, []).append(trial.params[name])
            if distribution not in ranges.setdefault(path, []):
                ranges[path].append(distribution)
    blocks = list(dict.fromkeys(path.split(".")[0] for path in ranges))
    return [
        _axis(path, distributions, drawn[path])
        for path, distributions in sorted(ranges.items(), key=lambda item: blocks.index(item[0].split(".")[0]))
    ]


def _axis(path: str, distributions: Sequence[BaseDistribution], drawn: Sequence[Any]) -> Axis:
    numbers = [one for one in distributions if isinstance(one, FloatDistribution | IntDistribution)]
    if len(numbers) < len(distributions) or path == SEED:
        choices = [
            choice for one in distributions if isinstance(one, CategoricalDistribution) for choice in one.choices
        ]
        options = tuple(dict.fromkeys(format_value(value) for value in [*choices, *drawn]))
        return Axis(path, 0.0, len(options) - 1.0, options=options)
    low, high = min(one.low for one in numbers), max(one.high for one in numbers)
    whole = all(isinstance(one, IntDistribution) for one in numbers)
    return Axis(path, low, high, log=all(one.log for one in numbers), whole=whole)


def _path(trial: FrozenTrial, name: str) -> str:
    return without_kinds(name, trial.params.get)


def _name(trial: FrozenTrial) -> str:
    if CONFIG not in trial.user_attrs:  # it failed before it had one
        return f"t{trial.number:03d}"
    return run_name(trial.number, trial.user_attrs[CONFIG], trial.params, attempt_of(trial).retry)
