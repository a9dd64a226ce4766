"""What a model is worth on some images: plainly, and by Monte Carlo dropout."""

import functools
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.image_data import Examples
from pipeline.models.dropout import has_dropout, only_dropout_trains
from pipeline.training.memory import GpuMemoryError, half, if_it_fits
from pipeline.training.metrics import CALIBRATION_BINS, MetricMeter, measured, probabilities_of

T = TypeVar("T")


@dataclass(frozen=True)
class ClassificationMetrics:
    """How good predicted probabilities are.

    Attributes:
        accuracy: Share of the images whose most probable class is the right one.
        log_likelihood: Mean logarithm of the right class's probability, in nats; minus the cross-entropy.
        calibration_error: Expected calibration error, see `calibration_error`.
        entropy: Mean entropy of the predicted distribution, in nats: how unsure the model says it is.
    """

    accuracy: float
    log_likelihood: float
    calibration_error: float
    entropy: float


@torch.inference_mode()
def evaluate(model: nn.Module, data: Examples, precision: AbstractContextManager[object]) -> tuple[float, float]:
    """Measures a model in evaluation mode.

    Args:
        model: From images to logits.
        data: What to measure it on.
        precision: Context for forward passes.

    Returns:
        Mean cross-entropy in nats, and the share of images classified correctly.

    Raises:
        GpuMemoryError: One image does not fit into the GPU's memory.
    """

    def measure(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return _loss_and_hits(_logits(model, inputs, precision), labels)

    model.eval()
    losses, hits = zip(*_by_chunks(data, measure), strict=True)
    return float(torch.stack(losses).sum()) / len(data), int(torch.stack(hits).sum()) / len(data)


@torch.inference_mode()
def evaluate_metrics(
    model: nn.Module,
    data: Examples,
    precision: AbstractContextManager[object],
    meters: Mapping[str, MetricMeter],
) -> tuple[float, float, dict[str, float]]:
    """Measures a model as `evaluate` does, to the bit, and by further metrics, in one pass over the data.

    Args:
        model: From images to logits.
        data: What to measure it on.
        precision: Context for forward passes.
        meters: What measures the further metrics, by name, on the data's device.

    Returns:
        Mean cross-entropy in nats, the share of images classified correctly, and the further metrics by name; none of
        those where the cross-entropy is not finite.

    Raises:
        GpuMemoryError: One image does not fit into the GPU's memory.
        DataError: A metric is not defined on these data.
    """

    def measure(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = _logits(model, inputs, precision)
        return *_loss_and_hits(logits, labels), functional.log_softmax(logits, 1)

    model.eval()
    losses, hits, log_probabilities = zip(*_by_chunks(data, measure), strict=True)
    loss, accuracy = float(torch.stack(losses).sum()) / len(data), int(torch.stack(hits).sum()) / len(data)
    if not math.isfinite(loss):
        return loss, accuracy, {}
    further = measured(meters, probabilities_of(torch.cat(log_probabilities)), data.labels)
    if "valid_log_likelihood" in further:
        further["valid_log_likelihood"] = -loss  # probabilities may be rounded to 0; this is not
    return loss, accuracy, further


@torch.inference_mode()
def predict(model: nn.Module, data: Examples, precision: AbstractContextManager[object]) -> Tensor:
    """Returns the logarithms of the predicted probabilities, (images, classes), of a model in evaluation mode."""
    model.eval()
    return torch.cat(_by_chunks(data, lambda inputs, _: functional.log_softmax(_logits(model, inputs, precision), 1)))


@torch.inference_mode()
def predict_by_monte_carlo(
    model: nn.Module, data: Examples, precision: AbstractContextManager[object], *, samples: int, seed: int
) -> Tensor:
    """Returns the logarithms of probabilities averaged over dropout masks: Gal and Ghahramani, ICML 2016.

    Dropout alone is in training mode; batch normalization uses its moving statistics.

    Args:
        model: A model with dropout; it is left in evaluation mode.
        data: The images.
        precision: Context for forward passes.
        samples: Passes, each with masks of its own.
        seed: Seed of the masks.

    Returns:
        (images, classes).
    """
    assert has_dropout(model)

    def average(inputs: Tensor, _labels: Tensor) -> Tensor:
        passes = (functional.log_softmax(_logits(model, inputs, precision), 1) for _ in range(samples))
        return functools.reduce(torch.logaddexp, passes) - math.log(samples)

    torch.manual_seed(seed)
    with only_dropout_trains(model):
        return torch.cat(_by_chunks(data, average))


def classification_metrics(log_probabilities: Tensor, labels: Tensor) -> ClassificationMetrics:
    """Measures predicted probabilities.

    Args:
        log_probabilities: Their logarithms, (images, classes).
        labels: The right classes, (images,).
    """
    right = log_probabilities.gather(1, labels[:, None]).squeeze(1)
    probabilities = log_probabilities.exp()
    return ClassificationMetrics(
        accuracy=float((log_probabilities.argmax(1) == labels).double().mean()),
        log_likelihood=float(right.double().mean()),
        calibration_error=calibration_error(probabilities, labels),
        entropy=float(torch.special.entr(probabilities).sum(1).double().mean()),
    )


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Returns the expected calibration error: Guo et al., ICML 2017, eq. (3).

    The mean distance between confidence (the probability of the predicted class) and accuracy, over bins of equal width
    (low, high] of confidence, weighted by the images in them.

    Args:
        probabilities: Predicted, (images, classes).
        labels: The right classes, (images,).
        bins: Number of bins.
    """
    confidence, predicted = probabilities.double().max(1)
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gaps.index_add_(0, index, confidence - (predicted == labels).double())
    return float(gaps.abs().sum()) / len(labels)


def _loss_and_hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sum of the cross-entropies, and of the images classified correctly, each 0-dimensional."""
    return functional.cross_entropy(logits, labels, reduction="sum"), (logits.argmax(1) == labels).sum()


def _logits(model: nn.Module, inputs: Tensor, precision: AbstractContextManager[object]) -> Tensor:
    with precision:
        logits: Tensor = model(inputs)
    return logits.float()


def _by_chunks(data: Examples, compute: Callable[[Tensor, Tensor], T]) -> list[T]:
    """Returns what a computation gives for the inputs and labels of each chunk.

    Where a GPU's memory does not suffice for a chunk, it and those after it are halved.

    Raises:
        GpuMemoryError: It does not suffice for one example.
    """

    def of_chunk(start: int, stop: int) -> T:
        return compute(*data.slice(start, stop))

    start, size = 0, min(data.chunk_size, len(data))
    results: list[T] = []
    while start < len(data):
        result = if_it_fits(data.labels.device, of_chunk, start, start + size)
        if result is not None:
            results.append(result)
            start += size
        elif size > 1:
            size = half(size)
        else:
            raise GpuMemoryError(
                "not even one image can be evaluated in the GPU's memory: take a smaller network or smaller images, or "
                "let fewer workers share the GPU"
            )
    return results
