"""How a study stands, in plain values."""

import dataclasses
import statistics
from dataclasses import dataclass
from typing import Any

import optuna

from pipeline.records.results import Outcome
from pipeline.space.yaml_text import dump
from pipeline.study.attributes import CHOSEN, CONFIG
from pipeline.study.pareto_front import pareto_front
from pipeline.study.studies import metrics_of
from pipeline.study.trials import best_trials


@dataclass(frozen=True)
class Best:
    """A study's best trial: its number, value, drawn parameters, and whole configuration."""

    number: int
    value: float
    params: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The configuration that `dnntune finalize` has chosen.

    Attributes:
        trial: Number of the study's trial that drew it.
        metric: The study's first metric.
        values: That metric over fresh seeds, by seed.
        config: The configuration as plain values.
    """

    trial: int
    metric: str
    values: dict[int, float]
    config: dict[str, Any]

    def describe(self) -> str:
        """Says what it is worth."""
        count = f"{len(self.values)} fresh seed{'' if len(self.values) == 1 else 's'}"
        values = ", ".join(f"{value:.4f}" for value in self.values.values())
        return f"mean {self.metric} {statistics.fmean(self.values.values()):.4f} over {count} ({values})"


@dataclass(frozen=True)
class ParetoPoint:
    """A trial that no other one dominates: its number and its values in all of the study's metrics, by name."""

    number: int
    values: dict[str, float]


@dataclass(frozen=True)
class StudySummary:
    """How a study stands.

    Attributes:
        study: Its name.
        storage: URL of its storage.
        tracking_uri: MLflow's tracking store.
        trials: Number of trials by outcome.
        num_left: Trials that it still needs.
        best: Its best trial, by the first metric; None if none is complete.
        seconds: Wall-clock time of the call.
        interrupted: Whether the user ended it before its end.
        tracking_error: What stopped the logging to MLflow, if anything did.
        backbone_images: Images that passed through the trials' backbones; 0 for perceptrons.
        cached_images: Images that the feature cache spared their frozen layers.
        pareto_front: The Pareto front of a study with several metrics, the best by the first one first; empty with one.
    """

    study: str
    storage: str
    tracking_uri: str
    trials: dict[Outcome, int]
    num_left: int
    best: Best | None
    seconds: float
    interrupted: bool
    tracking_error: str | None
    backbone_images: int
    cached_images: int
    pareto_front: tuple[ParetoPoint, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for another program."""
        fields = dataclasses.asdict(self)
        trials = {name: self.trials[name] for name in ("complete", "pruned", "diverged", "failed")}
        return {**fields, "trials": trials}


def best_of(study: optuna.Study) -> Best | None:
    """Returns a study's best trial, or None if none is complete."""
    for trial in best_trials(study):
        return Best(trial.number, trial.values[0], trial.params, trial.user_attrs[CONFIG])
    return None


def set_chosen(study: optuna.Study, chosen: Chosen) -> None:
    """Records what was chosen, in place of an earlier choice."""
    study.set_user_attr(CHOSEN, dataclasses.asdict(chosen))


def chosen_of(study: optuna.Study) -> Chosen | None:
    """Returns what `dnntune finalize` has chosen; None if the study was not finalized."""
    if (fields := study.user_attrs.get(CHOSEN)) is None:
        return None
    values = {int(seed): value for seed, value in fields["values"].items()}
    return Chosen(**{**fields, "values": values})


def pareto_points(study: optuna.Study) -> tuple[ParetoPoint, ...]:
    """Returns the front of a study with several metrics; nothing with one."""
    metrics = metrics_of(study)
    if len(metrics) < 2:
        return ()
    return tuple(
        ParetoPoint(trial.number, dict(zip(metrics, trial.values, strict=True))) for trial in pareto_front(study)
    )


def config_text(config: dict[str, Any]) -> str:
    """Writes a configuration (plain values) as a space file with nothing left to search."""
    return dump({"space": config})
