"""Trials as rows of plain values: for a table in Python, for CSV and for JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.study.leaderboard import leaderboard
from pipeline.study.studies import metrics_of
from pipeline.study.trials import attempt_of, outcome_of, result_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# What parameters' columns begin with, as in Optuna's tables: a parameter may be called as a metric is.
PARAMETER = "params_"
# Figures of a `TrialResult`, in the order of their columns, after the study's metrics.
FIGURES = (
    *("best_valid_accuracy", "best_valid_loss", "num_parameters", "latency_ms"),
    *("best_epoch", "epochs", "samples_per_second", "seconds"),
)


def trial_rows(study: "optuna.Study") -> list[dict[str, Any]]:
    """Returns every trial in its order, whatever became of it: all rows have the same columns.

    number; outcome (as in `TrialResult`, or waiting or running); the study's metrics by name; `FIGURES`; started and
    ended, in this machine's time; verdict; reason; retry_of; duplicate_of; and a column for each parameter, which
    begins with `PARAMETER`. What a trial does not have is None.
    """
    trials = study.get_trials(deepcopy=False)
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [_row(trial, metrics_of(study), list(names)) for trial in trials]


def leaderboard_rows(study: "optuna.Study", top: int) -> list[dict[str, Any]]:
    """Returns the best complete trials with their rank, from 1, and whether they are on the Pareto front."""
    rows = trial_rows(study)
    return [
        {"rank": rank, "pareto_optimal": entry.is_pareto_optimal, **rows[entry.number]}
        for rank, entry in enumerate(leaderboard(study, top), 1)
    ]


def _row(trial: "FrozenTrial", metrics: Sequence[str], parameters: Sequence[str]) -> dict[str, Any]:
    result = result_of(trial)
    figures: dict[str, Any] = {} if result is None else {name: result.metric_value(name) for name in metrics}
    return {
        "number": trial.number,
        "outcome": trial.state.name.lower() if (outcome := outcome_of(trial)) is None else outcome,
        **{name: figures.get(name) for name in metrics},
        **{name: None if result is None else getattr(result, name) for name in FIGURES if name not in metrics},
        "started": _time(trial.datetime_start),
        "ended": _time(trial.datetime_complete),
        "verdict": None if result is None or result.verdict is None else result.verdict.label,
        "reason": None if result is None else result.reason,
        "retry_of": attempt_of(trial).retry_of,
        "duplicate_of": None if result is None else result.duplicate_of,
        **{PARAMETER + name: trial.params.get(name) for name in parameters},
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(sep=" ", timespec="milliseconds")
