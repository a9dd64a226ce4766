"""What can be optimized and watched: a table of metrics, with the way in which each improves and the range it has."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from pipeline.config.kinds import BUILT_IN
from pipeline.config.schema import did_you_mean
from pipeline.core.errors import PluginError

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class MetricRow:
    """A metric.

    Attributes:
        direction: The way in which it improves.
        description: What it is.
        low: The least that it can be; None for no limit.
        high: The most, likewise.
        build: From its argument and the names of the classes to what measures it, see `pipeline.training.metrics`; or
            where a table of those is, by the metrics' names (``module:TABLE``); None for what is measured anyway.
        argument: What stands behind its name and a colon (``valid_recall:CLASS``); None for nothing.
        is_per_epoch: Whether it is known after every epoch, and not at a trial's end only.
        origin: Where it comes from.
    """

    direction: Direction
    description: str
    low: float | None = 0.0
    high: float | None = 1.0
    build: Callable[..., Any] | str | None = "pipeline.training.metrics:BUILDERS"
    argument: str | None = None
    is_per_epoch: bool = True
    origin: str = BUILT_IN


METRICS: dict[str, MetricRow] = {
    "valid_accuracy": MetricRow("maximize", "share of the images that are classified correctly", build=None),
    "valid_loss": MetricRow("minimize", "mean cross-entropy, in nats", high=None, build=None),
    "valid_balanced_accuracy": MetricRow("maximize", "mean of the classes' recalls: every class weighs the same"),
    "valid_macro_f1": MetricRow("maximize", "mean of the classes' F1 (harmonic mean of recall and precision)"),
    "valid_auroc": MetricRow(
        "maximize", "area under the ROC curve of each class against the others, mean over classes: how well it ranks"
    ),
    "valid_top_k_accuracy": MetricRow(
        "maximize", "share of the images whose class is among the K most probable", argument="K"
    ),
    "valid_recall": MetricRow(
        "maximize", "share of the images of one class that are classified correctly", argument="CLASS"
    ),
    "valid_cohen_kappa": MetricRow("maximize", "Cohen's kappa: agreement beyond chance", low=-1.0),
    "valid_log_likelihood": MetricRow(
        "maximize", "mean logarithm of the right class's probability, in nats: minus valid_loss", None, 0.0
    ),
    "valid_calibration_error": MetricRow(
        "minimize", "expected calibration error over 15 bins (Guo et al., 2017): confidence less accuracy"
    ),
    "latency_ms": MetricRow(
        "minimize", "median time of a forward pass of one image", high=None, build=None, is_per_epoch=False
    ),
    "num_parameters": MetricRow(
        "minimize", "parameters, frozen ones included", high=None, build=None, is_per_epoch=False
    ),
}


def register_metric(name: str, row: MetricRow) -> None:
    """Adds a metric, such as a plug-in's.

    Raises:
        PluginError: Its name is taken, or does not say that it is measured on the validation images.
    """
    if not name.startswith("valid_") or ":" in name:
        raise PluginError(f"a metric's name must begin with valid_ and have no colon; got {name}. Rename it")
    if (there := METRICS.get(name)) is not None:
        raise PluginError(f"there is a metric {name} already ({there.origin}). Give it another name")
    METRICS[name] = row


def unregister_metrics(origin: str) -> None:
    """Removes all metrics of an origin."""
    for name in [name for name, row in METRICS.items() if row.origin == origin]:
        del METRICS[name]


def metric_row(metric: str) -> MetricRow:
    """Returns what is known of a metric; of ``valid_recall:CLASS`` what holds for all classes."""
    return METRICS[metric.partition(":")[0]]


def argument_of(metric: str) -> str | None:
    """Returns what stands behind a metric's colon; None for nothing."""
    return metric.partition(":")[2] or None


def direction(metric: str) -> Direction:
    """Returns the way in which a metric improves."""
    return metric_row(metric).direction


def metric_names(*, per_epoch_only: bool = False) -> list[str]:
    """Returns the metrics' names as a user writes them."""
    rows = [(name, row) for name, row in METRICS.items() if row.is_per_epoch or not per_epoch_only]
    return [name if row.argument is None else f"{name}:{row.argument}" for name, row in rows]


def builder(metric: str) -> Callable[..., Any] | None:
    """Returns what builds what measures a metric; a built-in's module is imported now. None if nothing is built."""
    build = metric_row(metric).build
    if not isinstance(build, str):
        return build
    module, table = build.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), table)[metric.partition(":")[0]]
    return found


def measured_metrics(metrics: Iterable[str]) -> tuple[str, ...]:
    """Returns those of some metrics that have to be measured besides accuracy and loss, each once."""
    asked = dict.fromkeys(metrics)
    return tuple(metric for metric in asked if metric_row(metric).build is not None)


def _check(metric: str, *, per_epoch_only: bool) -> str:
    name, colon, argument = metric.partition(":")
    row = METRICS.get(name)
    if row is None or not (row.is_per_epoch or not per_epoch_only) or bool(colon) != (row.argument is not None):
        known = metric_names(per_epoch_only=per_epoch_only)
        hint = did_you_mean(metric, known).removeprefix(". Did")
        raise ValueError(f"must be one of {', '.join(known)}{hint and f' (did{hint})'}")
    if row.argument == "K" and (not argument.isdecimal() or int(argument) < 2):
        raise ValueError("K must be a whole number from 2 on, as in valid_top_k_accuracy:5")
    if row.argument is not None and not argument:
        raise ValueError(f"needs its {row.argument} behind the colon")
    return metric


def _check_any(metric: str) -> str:
    return _check(metric, per_epoch_only=False)


def _check_monitor(metric: str) -> str:
    return _check(metric, per_epoch_only=True)


Metric = Annotated[str, AfterValidator(_check_any)]
Monitor = Annotated[str, AfterValidator(_check_monitor)]
