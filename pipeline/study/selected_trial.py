"""The trial that `dnntune best` takes: the best one, or one that gives up a little of it for something else."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from pipeline.config.metrics import direction
from pipeline.core.commands import command
from pipeline.core.errors import StudyError
from pipeline.study.attributes import CONFIG
from pipeline.study.leaderboard import format_metric
from pipeline.study.pareto_front import preferred_trial, trial_metric
from pipeline.study.studies import metrics_of
from pipeline.study.summary import Chosen, chosen_of
from pipeline.study.trials import best_trials

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class SelectedTrial:
    """A chosen trial: its number, its configuration as plain values, and why it was chosen, in lines."""

    number: int
    config: dict[str, Any]
    reasons: tuple[str, ...]


def select_trial(
    study: "optuna.Study", *, within: float | None = None, prefer: str | None = None, trial: int | None = None
) -> SelectedTrial:
    """Returns the configuration that a study was finalized with, or else its best trial's, unless another is asked for.

    Args:
        study: The study.
        within: How much worse than the best it may be by the first metric, in its unit; None where nothing is
            preferred.
        prefer: The figure by which it is chosen from those; None for the first metric.
        trial: This trial's.

    Raises:
        StudyError: No trial is complete, or this one is not; only one of the first two is given, or the third with
            them; or trials do not have the figure.
    """
    if (within is None) != (prefer is None):
        given, missing = ("--prefer", "--within") if within is None else ("--within", "--prefer")
        raise StudyError(f"{given} needs {missing}: say --within 0.005 --prefer num_parameters, or neither of them")
    trials = best_trials(study)
    if not trials:
        raise StudyError(f"study {study.study_name} has no complete trial yet")
    best = chosen = trials[0]
    reasons = []
    if trial is not None:
        if within is not None:
            raise StudyError("--trial excludes --within and --prefer: leave one out")
        complete = {each.number: each for each in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
        if trial not in complete:
            raise StudyError(f"study {study.study_name} has no complete trial {trial}. See dnntune leaderboard")
        chosen = complete[trial]
    elif within is None and (final := chosen_of(study)) is not None:
        return _finalized(study, final, best)
    if within is not None and prefer is not None:
        chosen = preferred_trial(study, within=within, prefer=prefer)
        reasons = [_price(metrics_of(study)[0], within, prefer, best, chosen)]
    names = dict.fromkeys([*metrics_of(study), *([prefer] if prefer else [])])
    line = f"study {study.study_name}, trial {chosen.number}: {_format_metrics(chosen, names)}"
    return SelectedTrial(chosen.number, chosen.user_attrs[CONFIG], (line, *reasons))


def _finalized(study: "optuna.Study", final: Chosen, best: "FrozenTrial") -> SelectedTrial:
    lines = [f"study {study.study_name}, trial {final.trial}, chosen by dnntune finalize: {final.describe()}"]
    if best.number != final.trial:
        value = _format_metrics(best, [final.metric])
        lines.append(
            f"the best single trial is {best.number} ({value}): {command('best', study.study_name, trial=best.number)}"
        )
    return SelectedTrial(final.trial, final.config, tuple(lines))


def _price(metric: str, within: float, prefer: str, best: "FrozenTrial", chosen: "FrozenTrial") -> str:
    """Says what is given up against the best trial, and what is gained."""
    requested = f"the best {prefer} within {within:g} of the best {metric}"
    if chosen.number == best.number:
        return f"{requested} is that of the best trial itself: nothing is given up"
    given_up = abs(trial_metric(best, metric) - trial_metric(chosen, metric))
    gained = _change(prefer, trial_metric(best, prefer), trial_metric(chosen, prefer))
    compared = f"against trial {best.number} ({_format_metrics(best, [metric, prefer])})"
    return f"{requested}: {compared} it gives up {given_up:.4f} of {metric} for {gained}"


def _change(name: str, before: float, after: float) -> str:
    """Says how much better a figure is: points of an accuracy or a loss, a share of anything else."""
    if direction(name) == "maximize":
        return f"{after - before:.4f} more {name}"
    if name.startswith("valid_"):
        return f"{before - after:.4f} less {name}"
    return f"{100.0 * (1.0 - after / before):.0f} % less {name}"


def _format_metrics(trial: "FrozenTrial", names: Iterable[str]) -> str:
    return ", ".join(f"{name} {format_metric(name, trial_metric(trial, name))}" for name in names)
