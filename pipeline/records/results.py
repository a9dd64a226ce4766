"""What happened, in plain values: passed between processes, kept in the study's storage, logged to MLflow.

Nothing here imports torch, so whoever only watches need not load it.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.records.classes import UNKNOWN_CLASSES, ClassCounts

Outcome = Literal["complete", "pruned", "diverged", "failed", "interrupted"]

VerdictLabel = Literal["healthy", "vanishing", "exploding", "dead", "diverged"]

# Outcomes that use up one of a study's trials; failed and interrupted ones are made up for.
COUNTED: tuple[Outcome, ...] = ("complete", "pruned", "diverged")


def at_best_epoch(metric: str) -> str:
    """Returns what a metric's value at a trial's best epoch is called: ``best_valid_loss``, and so on."""
    return f"best_{metric}" if metric.startswith("valid_") else metric


# Of an epoch's fields, those that are no measure.
NOT_CURVES = (
    "epoch",
    "is_best",
    "gradient_flow",
    "phase",
    "backbone_images",
    "cached_images",
    "ended",
    "fold",
    "metrics",
)


@dataclass(frozen=True)
class LayerFlow:
    """What passes through a layer, forward and back: means over the measured steps of an epoch.

    Attributes:
        layer: Its number, from 1 at the input; the last one is the output.
        module: The name of its weights' module.
        weight_gradient: Euclidean norm of the loss's gradient with respect to the weights, before clipping.
        gradient: Euclidean norm of the loss's gradient with respect to the pre-activations of the whole batch.
        update_ratio: Norm of a step's change of the weights over the norm of the weights; about 1e-3 is usual.
        mean: Mean of the activations (of the logits, at the output).
        std: Their standard deviation.
        dead: Share of the units that were positive for no image of any measured batch; None where the activation is
            not ReLU.
        saturated: Share of the activations so near to their limits that they pass no gradient; None where the
            activation is neither sigmoid nor tanh.
    """

    layer: int
    module: str
    weight_gradient: float
    gradient: float
    update_ratio: float
    mean: float
    std: float
    dead: float | None = None
    saturated: float | None = None

    def measures(self) -> dict[str, float]:
        """Returns the figures that it has, by name."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if name not in ("layer", "module") and value is not None}


@dataclass(frozen=True)
class EpochResult:
    """What an epoch brought.

    Attributes:
        epoch: Its number, from 1.
        train_loss: Mean cross-entropy over its training images, in nats, as they were trained on (with dropout).
        train_accuracy: Share of its training images that were classified correctly, likewise.
        valid_loss: Mean cross-entropy over the validation images after the epoch, in nats.
        valid_accuracy: Share of the validation images that are classified correctly.
        lr: Learning rate of its last step.
        gradient_norm: Mean Euclidean norm of the gradient before clipping.
        clipped: Share of the steps in which clipping changed the gradient.
        samples_per_second: Training images a second, validation not counted.
        seconds: Time of the training part.
        is_best: Whether the monitored measure is the best so far.
        gradient_flow: The layers, input first; empty if no step of the epoch was measured.
        phase: What learned, where a backbone is trained in phases; empty for a perceptron.
        backbone_images: Images that passed through the backbone, or for the cache through its frozen layers.
        cached_images: Images that did not have to pass through its frozen layers: the cache had what they give.
        ended: Unix time in seconds at its end; 0 where nobody looked at a clock.
        metrics: Further metrics of the validation images, by name: those that the study or the configuration asks for.
        fold: Number of the fold that it was validated on, from 1; 0 without folds.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    lr: float
    gradient_norm: float
    clipped: float
    samples_per_second: float
    seconds: float
    is_best: bool
    gradient_flow: tuple[LayerFlow, ...] = ()
    phase: str = ""
    backbone_images: int = 0
    cached_images: int = 0
    ended: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    fold: int = 0

    def measures(self) -> dict[str, float]:
        """Returns all that can be drawn as a curve over epochs, by name."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in NOT_CURVES]
        return {name: float(getattr(self, name)) for name in names} | self.metrics

    def metric_value(self, metric: str) -> float:
        """Returns what a metric that was measured came to."""
        value: float = self.metrics[metric] if metric in self.metrics else getattr(self, metric)
        return value

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint."""
        return dataclasses.asdict(self)


# What of its epochs a study's storage keeps of each trial.
CURVE_NAMES = (
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "lr",
    "gradient_norm",
    "clipped",
    "seconds",
)


def curves_of(epochs: Sequence[EpochResult]) -> dict[str, Any]:
    """Returns what epochs brought, small enough to be kept for every trial: six digits of each figure.

    Args:
        epochs: All epochs of a trial, in their order.

    Returns:
        For each name of `CURVE_NAMES`, and each further metric, a list with a value for each epoch; ``gradient_flow``:
        for each epoch in which it was measured, its number and each layer's gradient (see `LayerFlow`), the output at
        the end; ``ended``: the Unix time of each epoch's end, to the millisecond.
    """
    names = dict.fromkeys([*CURVE_NAMES, *epochs[0].metrics])
    curves: dict[str, Any] = {name: [_short(epoch.metric_value(name)) for epoch in epochs] for name in names}
    measured = [epoch for epoch in epochs if epoch.gradient_flow]
    flow = [[epoch.epoch, [_short(layer.gradient) for layer in epoch.gradient_flow]] for epoch in measured]
    return {**curves, "gradient_flow": flow, "ended": [round(epoch.ended, 3) for epoch in epochs]}


def _short(value: float) -> float:
    return float(f"{value:.6g}")


@dataclass(frozen=True)
class Verdict:
    """What gradient flow says of a network, in a word and in a sentence; see `pipeline.records.verdict`."""

    label: VerdictLabel
    text: str


@dataclass(frozen=True)
class PhaseResult:
    """What a phase of a training brought.

    Attributes:
        name: What learned in it; empty for a perceptron, which has one phase.
        epochs: Its epochs.
        best_epoch: The one of them, from 1, with whose weights the training went on, as the best ones so far; None if
            an earlier phase was better than all of them.
        value: The best of the study's metric in it.
    """

    name: str
    epochs: int
    best_epoch: int | None
    value: float


@dataclass(frozen=True)
class FoldResult:
    """What the training of a fold brought.

    Attributes:
        value: The study's first metric at the best epoch.
        epochs: Epochs trained.
        best_epoch: The epoch whose weights came back, from 1.
        best_valid_accuracy: Accuracy on the fold at that epoch.
        best_valid_loss: Loss on the fold at that epoch, in nats.
        ended: Unix time in seconds at the end of its last epoch.
        phases: What each phase brought, in their order.
        best_metrics: Further metrics at the best epoch, by name.
    """

    value: float
    epochs: int
    best_epoch: int
    best_valid_accuracy: float
    best_valid_loss: float
    ended: float
    phases: tuple[PhaseResult, ...]
    best_metrics: dict[str, float] = field(default_factory=dict)

    def metric_value(self, metric: str) -> float | None:
        """Returns what a metric came to; None if it was not measured after an epoch."""
        value: float | None = self.best_metrics.get(metric, getattr(self, at_best_epoch(metric), None))
        return value


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    With folds, value and the metrics at the best epoch are means over the folds that are done (if none is, those
    of the first one so far), epochs are those of all folds together, and best_epoch is the median.

    Attributes:
        outcome: complete; pruned by the pruner; diverged (a loss was not finite); failed with an exception;
            interrupted by the user or the time limit, to be run again.
        value: The study's first metric at the best epoch; None if there was no epoch.
        epochs: Epochs trained.
        best_epoch: The epoch whose weights came back, from 1.
        best_valid_accuracy: Validation accuracy at that epoch.
        best_valid_loss: Validation loss at that epoch, in nats.
        num_parameters: Parameters of the network, frozen ones included.
        samples_per_second: Median over the epochs, training alone.
        seconds: Wall-clock time of the whole trial.
        reason: Why it ended as it did, where that needs saying.
        traceback: Where it failed.
        duplicate_of: Number of the earlier trial with the same configuration whose result was taken over.
        verdict: What gradient flow says of the network; None if nothing was measured.
        phases: What each phase brought, in their order; empty without an epoch.
        backbone_images: Images that passed through the backbone; None for a perceptron.
        cached_images: Images that the cache spared its frozen layers; None for a perceptron.
        latency_ms: Median time of a forward pass of one image, in milliseconds; None where the study does not ask.
        best_metrics: Further metrics at the best epoch, by name.
        valid_images: What tells its validation images from others, see `pipeline.data.image_data.ImageData`; None
            unless it is complete, and with folds.
        folds: The folds that are done, in their order; empty without folds.
    """

    outcome: Outcome
    value: float | None = None
    epochs: int = 0
    best_epoch: int | None = None
    best_valid_accuracy: float | None = None
    best_valid_loss: float | None = None
    num_parameters: int | None = None
    samples_per_second: float | None = None
    seconds: float = 0.0
    reason: str | None = None
    traceback: str | None = None
    duplicate_of: int | None = None
    verdict: Verdict | None = None
    phases: tuple[PhaseResult, ...] = ()
    backbone_images: int | None = None
    cached_images: int | None = None
    latency_ms: float | None = None
    valid_images: str | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    folds: tuple[FoldResult, ...] = ()

    @property
    def value_std(self) -> float | None:
        """The sample standard deviation of the first metric over folds; None with fewer than two."""
        return statistics.stdev(fold.value for fold in self.folds) if len(self.folds) > 1 else None

    def metric_std(self, metric: str) -> float | None:
        """Returns the sample standard deviation of a metric over folds; None where it has none."""
        values = [value for fold in self.folds if (value := fold.metric_value(metric)) is not None]
        return statistics.stdev(values) if len(values) > 1 else None

    def metric_value(self, metric: str) -> float | None:
        """Returns what a metric of `StudyConfig.metrics` came to; None if it was not measured."""
        value: float | None = self.best_metrics.get(metric, getattr(self, at_best_epoch(metric), None))
        return value

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for a storage."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class DataSummary:
    """The data that a worker has loaded: numbers of images and classes, (channels, height, width), the device, and how
    many images there are of each class.

    With folds, the numbers of images are those of the first one.
    """

    name: str
    num_train: int
    num_valid: int
    num_classes: int
    image_shape: tuple[int, int, int]
    device: str
    classes: ClassCounts = UNKNOWN_CLASSES
    folds: int = 1

    @property
    def images_text(self) -> str:
        """Says how many images there are for what."""
        each = "" if self.folds == 1 else f", in each of {self.folds} folds"
        return f"{self.num_train:,} images to train on, {self.num_valid:,} to validate on{each}"


EPOCHS_TYPE, RESULT_TYPE = TypeAdapter(list[EpochResult]), TypeAdapter(TrialResult)
DATA_TYPE = TypeAdapter(DataSummary)
