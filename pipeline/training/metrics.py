"""What measures each metric: torchmetrics' classes, on the device, from probabilities and labels.

torchmetrics takes as long to import as torch; it is imported by trainings that measure more than accuracy and loss.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.config.metrics import argument_of, builder, direction, metric_row
from pipeline.config.schema import did_you_mean
from pipeline.core.errors import DataError

CALIBRATION_BINS = 15


class MetricMeter(Protocol):
    """What measures a metric; torchmetrics' metrics do."""

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Takes predicted probabilities (images, classes), float32, and the right classes (images,)."""

    def compute(self) -> Tensor:
        """Returns the metric of all that was taken, 0-dimensional."""

    def reset(self) -> None:
        """Forgets what was taken."""

    def to(self, device: torch.device, /) -> "MetricMeter":
        """Returns it on a device."""


# From a metric's argument and the names of the classes to what measures it.
Build = Callable[[str | None, Sequence[str]], MetricMeter]


def build_meters(metrics: Sequence[str], class_names: Sequence[str], device: torch.device) -> dict[str, MetricMeter]:
    """Builds what measures some metrics.

    Args:
        metrics: Those that are not measured anyway; see `pipeline.config.metrics.measured_metrics`.
        class_names: The classes.
        device: Where probabilities will be.

    Raises:
        DataError: A metric names a class that there is not, or more classes than there are.
    """
    meters = {}
    for metric in metrics:
        argument, build = argument_of(metric), builder(metric)
        assert build is not None
        what = metric_row(metric).argument
        if what == "CLASS" and argument not in class_names:
            known = f". The classes are {', '.join(class_names[:20])}{', ...' if len(class_names) > 20 else ''}"
            raise DataError(f"{metric}: no such class{did_you_mean(argument, class_names)}{known}")
        if what == "K" and int(argument or 0) >= len(class_names):
            raise DataError(f"{metric}: K must be smaller than the number of classes, {len(class_names)}")
        meters[metric] = build(argument, class_names).to(device)
    return meters


def measured(meters: Mapping[str, MetricMeter], probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Returns each metric of some predictions.

    Args:
        meters: See `build_meters`; they forget what they took before.
        probabilities: Predicted, (images, classes), float32.
        labels: The right classes, (images,).

    Raises:
        DataError: A metric is not defined on these images.
    """
    values = {}
    for metric, meter in meters.items():
        meter.reset()
        meter.update(probabilities, labels)
        values[metric] = value = float(meter.compute())
        if not math.isfinite(value):
            raise DataError(
                f"{metric} is not defined on these {len(labels):,} images: it is {value}. A class may have none; take "
                "another metric, or more images"
            )
    return values


def metric_of(metric: str, class_names: Sequence[str]) -> Callable[[Tensor, Tensor], float]:
    """Returns what measures a metric of probabilities (images, classes) and labels (images,), the larger the better."""
    sign = 1.0 if direction(metric) == "maximize" else -1.0
    meters = build_meters([metric], class_names, torch.device("cpu"))
    return lambda probabilities, labels: sign * measured(meters, probabilities.float(), labels)[metric]


def probabilities_of(log_probabilities: Tensor) -> Tensor:
    """Returns probabilities, none of them rounded to more than 1: torchmetrics would take those for logits."""
    return log_probabilities.exp().clamp_(max=1.0)


def _multiclass(kind: str, **settings: Any) -> Build:
    """Returns what builds one of torchmetrics' classes; what is measured needs no second look at its arguments."""

    def build(_argument: str | None, class_names: Sequence[str]) -> MetricMeter:
        from torchmetrics import classification

        meter: MetricMeter = getattr(classification, f"Multiclass{kind}")(
            len(class_names), validate_args=False, **settings
        )
        return meter

    return build


def _top_k_accuracy(argument: str | None, class_names: Sequence[str]) -> MetricMeter:
    assert argument is not None
    return _multiclass("Accuracy", average="micro", top_k=int(argument))(None, class_names)


def _recall(argument: str | None, class_names: Sequence[str]) -> MetricMeter:
    assert argument is not None
    by_class: Any = _multiclass("Recall", average=None)(None, class_names)
    meter: MetricMeter = by_class[class_names.index(argument)]
    return meter


class LogLikelihood:
    """The mean logarithm of the right class's probability, in nats; torchmetrics has no such metric."""

    def __init__(self) -> None:
        self.logarithms: list[Tensor] = []

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """As `MetricMeter`'s."""
        right = probabilities.gather(1, labels[:, None]).squeeze(1)
        self.logarithms.append(right.clamp_min(torch.finfo(right.dtype).tiny).log().double())

    def compute(self) -> Tensor:
        """As `MetricMeter`'s."""
        return torch.cat(self.logarithms).mean()

    def reset(self) -> None:
        """As `MetricMeter`'s."""
        self.logarithms = []

    def to(self, _device: torch.device, /) -> "LogLikelihood":
        """As `MetricMeter`'s; it follows what it is given."""
        return self


BUILDERS: dict[str, Build] = {
    "valid_balanced_accuracy": _multiclass("Accuracy", average="macro"),
    "valid_macro_f1": _multiclass("F1Score", average="macro"),
    "valid_auroc": _multiclass("AUROC", average="macro"),
    "valid_top_k_accuracy": _top_k_accuracy,
    "valid_recall": _recall,
    "valid_cohen_kappa": _multiclass("CohenKappa"),
    "valid_log_likelihood": lambda _argument, _class_names: LogLikelihood(),
    "valid_calibration_error": _multiclass("CalibrationError", n_bins=CALIBRATION_BINS, norm="l1"),
}
