"""What a run in MLflow should contain, by what the study's storage knows of its trial.

Runs are written and compared by the same expectation. It does not depend on when it is made: points are as the storage
has them, with their times, and MLflow keeps equal points once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config.metrics import Metric
from pipeline.records.results import DataSummary, EpochResult, FoldResult, Outcome, TrialResult
from pipeline.space.tree import SearchSpace
from pipeline.tracking.axes import Axes
from pipeline.tracking.naming import NOTE, metric_key, metrics_of, params_of, run_name, tags_of

if TYPE_CHECKING:
    from mlflow.entities import Run

STATUS: dict[Outcome, str] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "diverged": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
PARENT_TAG = "mlflow.parentRunId"
# Tag of a trial that was tried again as another one: that one's number.
SUPERSEDED = "superseded_by"
# Where a curve would have the name of a trial's final figure.
CURVE_METRICS = {"seconds": "epoch_seconds"}


class Point(NamedTuple):
    """A point of a curve, or a final figure: its metric, its value, when (in milliseconds), and after which epoch."""

    metric: str
    value: float
    at: int
    step: int


@dataclass(frozen=True)
class TrialRecord:
    """A trial as the study's storage has it.

    Attributes:
        number: Its number.
        params: What was drawn.
        config: Its configuration as plain values; None if it died before it was recorded.
        started: Unix time in seconds at which it, or its last attempt, began.
        ended: The same of its end; None if it has none.
        outcome: How it ended; interrupted if it waits to be resumed, None if it runs.
        result: Its result; None if it has none.
        curves: See `pipeline.records.results.curves_of`; empty if there are none.
        retry: How often it has been tried before.
        retry_of: Number of the trial that it tries again.
        retried_as: Number of the trial that tries it again.
    """

    number: int
    params: Mapping[str, Any]
    config: Mapping[str, Any] | None
    started: float
    ended: float | None = None
    outcome: Outcome | None = None
    result: TrialResult | None = None
    curves: Mapping[str, Any] = field(default_factory=dict)
    retry: int = 0
    retry_of: int | None = None
    retried_as: int | None = None


@dataclass(frozen=True)
class StudyRecord:
    """A study as its storage has it, and what its run says of it.

    Attributes:
        name: Its name.
        metrics: What it optimizes.
        space: What it searches; None if a function draws.
        data: What it trains on.
        outcome: How it ended; None if it goes on.
        started: Unix time in seconds at which its first trial began.
        ended: The same of its last trial's end.
        totals: Figures of the whole study.
        best: Its best trial; None if none is complete.
        best_config: The configuration that was chosen, else that trial's, as YAML.
        chosen: What `dnntune finalize` has chosen, in words; None if it has not.
        configs: The configurations of all trials, for the prepared view.
        searched_paths: Paths of the settings that it searches, likewise.
    """

    name: str
    metrics: tuple[Metric, ...]
    space: SearchSpace | None
    data: DataSummary
    outcome: Outcome | None
    started: float
    ended: float
    totals: Mapping[str, float]
    best: TrialRecord | None
    best_config: str | None
    chosen: str | None
    configs: Sequence[Mapping[str, Any]]
    searched_paths: Sequence[str]


@dataclass(frozen=True)
class ExpectedRun:
    """What a run should have; it may have more."""

    name: str
    status: str
    started: int
    ended: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[Point]


def milliseconds(seconds: float) -> int:
    """Returns a Unix time as MLflow wants it."""
    return round(seconds * 1000)


def expected_run(record: TrialRecord, *, study: str, axes: Axes) -> ExpectedRun:
    """Returns what the run of a trial should contain.

    Args:
        record: The trial.
        study: Its study's name, by which runs of several studies are told apart on an axis.
        axes: What charts must know of its space.
    """
    config = record.config
    own = {"study": study, "kind": "trial", "trial": str(record.number)}
    if record.retry:
        own["retry"] = str(record.retry)
    if record.retry_of is not None:
        own["retry_of"] = str(record.retry_of)
    if record.retried_as is not None:
        own[SUPERSEDED] = str(record.retried_as)
    if record.result is not None:
        own |= tags_of(record.result)
    elif record.outcome is not None:
        own |= {"outcome": record.outcome, NOTE: f"{record.outcome}: waits to be resumed"}
    params = {"study": study}
    params |= {"case": str(record.params["case"])} if "case" in record.params else {}
    points = points_of(record.curves)
    if config is not None:
        own["dataset"] = str(config["data"]["kind"])
        params |= params_of(config, axes)
    if record.result is not None and record.ended is not None:
        at, step = milliseconds(record.ended), record.result.epochs
        points += [Point(name, value, at, step) for name, value in metrics_of(record.result).items()]
        if record.result.duplicate_of is None:
            points += fold_points(record.result.folds)
    bare = f"t{record.number:03d}"
    return ExpectedRun(
        name=bare if config is None else run_name(record.number, config, record.params, record.retry),
        status="RUNNING" if record.outcome is None else STATUS[record.outcome],
        started=milliseconds(record.started),
        ended=None if record.ended is None else milliseconds(record.ended),
        tags=own,
        params=params,
        points=points,
    )


def points_of(curves: Mapping[str, Any]) -> list[Point]:
    """Returns the points of a trial's curves: those of gradient flow as ``gradient_flow/gradient/01`` and so on.

    Args:
        curves: See `pipeline.records.results.curves_of`; empty if there are none.
    """
    if not curves:
        return []
    times = [milliseconds(ended) for ended in curves["ended"]]
    points = [
        Point(CURVE_METRICS.get(name) or metric_key(name), value, at, epoch)
        for name, values in curves.items()
        if name not in ("gradient_flow", "ended")
        for epoch, (value, at) in enumerate(zip(values, times, strict=True), start=1)
    ]
    for epoch, gradients in curves["gradient_flow"]:
        at = times[epoch - 1]
        hidden = gradients[:-1] or gradients
        ratio = hidden[0] / hidden[-1] if hidden[-1] > 0.0 else 0.0
        points.append(Point("gradient_flow/first_to_last", ratio, at, epoch))
        points += [
            Point(f"gradient_flow/gradient/{layer:02d}", value, at, epoch)
            for layer, value in enumerate(gradients, start=1)
        ]
    return points


def fold_points(folds: Sequence[FoldResult], first: int = 1) -> list[Point]:
    """Returns the points of a trial's folds: their numbers are the steps.

    Args:
        folds: Folds that are done, one after the other.
        first: The number of the first one.
    """
    return [
        Point(f"fold/{metric_key(name)}", value, milliseconds(fold.ended), number)
        for number, fold in enumerate(folds, first)
        for name, value in (
            ("valid_accuracy", fold.best_valid_accuracy),
            ("valid_loss", fold.best_valid_loss),
            ("epochs", float(fold.epochs)),
            *fold.best_metrics.items(),
        )
    ]


def details_of(epoch: EpochResult) -> list[Point]:
    """Returns the points that only those get who watch a trial while it runs: the storage keeps less of an epoch.

    Returns:
        The pace, and of each layer all that was measured: ``gradient_flow/update_ratio/01`` and so on.
    """
    values = {"samples_per_second": epoch.samples_per_second} | {
        f"gradient_flow/{name}/{layer.layer:02d}": value
        for layer in epoch.gradient_flow
        for name, value in layer.measures().items()
        if name != "gradient"
    }
    return [Point(name, value, milliseconds(epoch.ended), epoch.epoch) for name, value in values.items()]


def differences(expected: ExpectedRun, run: "Run") -> list[str]:
    """Returns in which things a run differs from what is expected, in words; nothing if it agrees."""
    found = []
    if run.info.status != expected.status:
        found.append(f"its status is {run.info.status}, and not {expected.status}")
    for kind, expected_values, there in (
        ("tag", expected.tags, run.data.tags),
        ("parameter", expected.params, run.data.params),
    ):
        found += [f"{kind} {name}" for name, value in expected_values.items() if there.get(name) != value]
    last = {point.metric: point.value for point in sorted(expected.points, key=lambda point: point.step)}
    metrics = run.data.metrics
    found += [f"metric {name}" for name, value in last.items() if not _equal(metrics.get(name), value)]
    return found


def _equal(kept: float | None, value: float) -> bool:
    """Returns whether MLflow has a value: it keeps what is infinite as the largest number."""
    if kept is None:
        return False
    if math.isinf(value):
        return abs(kept) > 1e300 and (kept > 0.0) == (value > 0.0)
    return math.isclose(kept, value, rel_tol=1e-9) or (math.isnan(kept) and math.isnan(value))
