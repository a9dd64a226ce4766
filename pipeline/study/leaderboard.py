"""The best trials of a study, and what differs between them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.records.results import TrialResult
from pipeline.space.distributions import format_value
from pipeline.space.tree import flatten, without_kinds
from pipeline.study.attributes import CONFIG
from pipeline.study.pareto_front import pareto_front
from pipeline.study.trials import best_trials, result_of

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Entry:
    """A trial on the leaderboard.

    Attributes:
        number: Its number.
        value: The study's first metric.
        result: How it ended.
        params: Its drawn parameters.
        config: All settings as plain values.
        is_pareto_optimal: Whether no other trial dominates it; see `pipeline.study.pareto_front.pareto_front`.
    """

    number: int
    value: float
    result: TrialResult
    params: dict[str, Any]
    config: dict[str, Any]
    is_pareto_optimal: bool = False


def leaderboard(study: "optuna.Study", top: int) -> list[Entry]:
    """Returns the best complete trials, see `pipeline.study.trials.best_trials`."""
    pareto_optimal = {trial.number for trial in pareto_front(study)}
    entries = []
    for trial in best_trials(study)[:top]:
        result, config = result_of(trial), trial.user_attrs[CONFIG]
        assert result is not None
        entries.append(
            Entry(trial.number, trial.values[0], result, trial.params, config, trial.number in pareto_optimal)
        )
    return entries


def format_metric(metric: str, value: float | None) -> str:
    """Writes a figure with as many digits as tell trials apart; nothing if it was not measured."""
    if value is None:
        return ""
    if metric == "num_parameters":
        return f"{value:,.0f}"
    return f"{value:.3g}" if metric == "latency_ms" else f"{value:.4f}"


def spread_text(std: float | None) -> str:
    """Writes the standard deviation of a metric over folds, to stand after their mean; nothing for None."""
    return "" if std is None else f" ± {std:.4f}"


def metric_text(result: TrialResult, metric: str) -> str:
    """Writes what a metric of a trial came to, with folds also their standard deviation."""
    return f"{format_metric(metric, result.metric_value(metric))}{spread_text(result.metric_std(metric))}"


def epochs_text(result: TrialResult) -> str:
    """Says which epoch was the best, of how many; with folds, how many there were in how many folds."""
    if result.folds:
        return f"{result.epochs} in {len(result.folds)} folds"
    return f"{result.best_epoch} of {result.epochs}"


def differences(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Returns, for each entry, its searched settings that are not the same in all: words by block (``model``, ...)."""
    searched = {without_kinds(name, entry.params.get) for entry in entries for name in entry.params}
    all_settings = [
        {path: value for path, value in flatten(entry.config).items() if path in searched} for entry in entries
    ]
    paths = list(dict.fromkeys(path for settings in all_settings for path in settings))
    differing = [path for path in paths if len({json.dumps(settings.get(path, "")) for settings in all_settings}) > 1]
    blocks = list(dict.fromkeys(path.split(".")[0] for path in differing))
    return [
        {block: ", ".join(_labels(settings, [p for p in differing if p.split(".")[0] == block])) for block in blocks}
        for settings in all_settings
    ]


def _labels(settings: dict[str, Any], paths: Sequence[str]) -> list[str]:
    labels = []
    for path in paths:
        names, value = path.split(".")[1:], settings.get(path)
        if value is None or (names[-1:] == ["kind"] and value in names):
            continue  # does not apply, or the block's name says it already
        label = [] if names == ["activation"] else [name for name in names if name != "kind"]
        labels.append(" ".join([*label, format_value(value)]))
    return labels
