"""What a model is worth on some images: plainly, and by Monte Carlo dropout."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.image_data import Examples
from pipeline.models.dropout import has_dropout, only_dropout_trains

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Assessment:
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
    """
    model.eval()
    losses, hits = [], []
    for logits, labels in _logits(model, data, precision):
        losses.append(functional.cross_entropy(logits, labels, reduction="sum"))
        hits.append((logits.argmax(1) == labels).sum())
    return float(torch.stack(losses).sum()) / len(data), int(torch.stack(hits).sum()) / len(data)


@torch.inference_mode()
def predict(model: nn.Module, data: Examples, precision: AbstractContextManager[object]) -> Tensor:
    """Returns the logarithms of the predicted probabilities, (images, classes), of a model in evaluation mode."""
    model.eval()
    return torch.cat([functional.log_softmax(logits, 1) for logits, _ in _logits(model, data, precision)])


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
    torch.manual_seed(seed)
    with only_dropout_trains(model):
        parts = []
        for start, stop in _chunks(data):
            images, _ = data.slice(start, stop)
            total: Tensor | None = None
            for _ in range(samples):
                with precision:
                    logits = model(images)
                sample = functional.log_softmax(logits.float(), 1)
                total = sample if total is None else torch.logaddexp(total, sample)
            assert total is not None
            parts.append(total - math.log(samples))
    return torch.cat(parts)


def assess(log_probabilities: Tensor, labels: Tensor) -> Assessment:
    """Measures predicted probabilities.

    Args:
        log_probabilities: Their logarithms, (images, classes).
        labels: The right classes, (images,).
    """
    right = log_probabilities.gather(1, labels[:, None]).squeeze(1)
    probabilities = log_probabilities.exp()
    return Assessment(
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


def _logits(
    model: nn.Module, data: Examples, precision: AbstractContextManager[object]
) -> Iterator[tuple[Tensor, Tensor]]:
    for start, stop in _chunks(data):
        images, labels = data.slice(start, stop)
        with precision:
            logits = model(images)
        yield logits.float(), labels


def _chunks(data: Examples) -> Iterator[tuple[int, int]]:
    return ((start, start + data.chunk_size) for start in range(0, len(data), data.chunk_size))
