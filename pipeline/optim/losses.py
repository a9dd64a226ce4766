"""Losses: a row each, from logits and targets to the mean over a batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.kinds import build
from pipeline.config.loss import LossBlock, wrong_number_of_weights
from pipeline.core.errors import DataError

# From logits (batch, classes), float32, and targets, classes (batch,) or probabilities (batch, classes), to the mean
# loss of the batch, 0-dimensional.
Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(config: LossBlock, class_counts: Tensor) -> Loss:
    """Builds the loss that a configuration describes.

    Args:
        config: The configuration.
        class_counts: How many images of each class an epoch trains on, (classes,), on the device of the logits.

    Raises:
        DataError: The list of weights has another length than there are classes.
    """
    loss: Loss = build(config, class_weights(config, class_counts))
    return loss


def class_weights(config: LossBlock, class_counts: Tensor) -> Tensor | None:
    """Returns each class's weight, (classes,), float32, of mean 1 over the images; None where all weigh the same.

    A class without images has the weight 0 if weights are balanced.

    Args:
        config: The loss.
        class_counts: Images of each class, (classes,).

    Raises:
        DataError: The list of weights has another length than there are classes.
    """
    if config.class_weights == "none":
        return None
    counts = class_counts.double()
    if config.class_weights == "balanced":
        weights = torch.where(counts > 0, 1.0 / counts, 0.0)
    elif len(config.class_weights) == len(counts):
        weights = counts.new_tensor(config.class_weights)
    else:
        raise DataError(wrong_number_of_weights(len(config.class_weights), len(counts)))
    return (weights * (counts.sum() / (weights * counts).sum())).float()


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float, weights: Tensor | None) -> Tensor:
    """Returns the mean cross-entropy of a batch.

    With weights, the sum is divided by the number of images, as Keras does; PyTorch divides by the sum of their
    weights, so that an image would count the more the less its batch weighs, and microbatches would give another
    gradient.

    Args:
        logits: (batch, classes), float32.
        targets: Classes (batch,) or probabilities (batch, classes).
        label_smoothing: Share of each target that is spread over all classes.
        weights: Of the classes, (classes,); None for none.
    """
    if weights is None:
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    summed = functional.cross_entropy(logits, targets, weights, label_smoothing=label_smoothing, reduction="sum")
    return summed / len(logits)


def focal(logits: Tensor, targets: Tensor, *, gamma: float, weights: Tensor | None) -> Tensor:
    """Returns the mean focal loss of a batch: Lin et al., ICCV 2017, eq. (5).

    Args:
        logits: (batch, classes), float32.
        targets: Classes (batch,) or probabilities (batch, classes), by which the losses of the classes are averaged.
        gamma: The exponent.
        weights: Of the classes, (classes,), the paper's alpha; None for none.
    """
    log_probabilities = functional.log_softmax(logits, 1)
    # Where p is 1 to the last bit, the power's slope would be infinite for a gamma below 1.
    doubt = (-torch.expm1(log_probabilities)).clamp_min(torch.finfo(logits.dtype).tiny)
    losses = -(doubt**gamma) * log_probabilities
    if weights is not None:
        losses = losses * weights
    if targets.dtype == torch.int64:
        return losses.gather(1, targets[:, None]).mean()
    return (losses * targets).sum(1).mean()


LOSSES: dict[str, Callable[[Any, Tensor | None], Loss]] = {
    "cross_entropy": lambda c, weights: partial(cross_entropy, label_smoothing=c.label_smoothing, weights=weights),
    "focal": lambda c, weights: partial(focal, gamma=c.gamma, weights=weights),
}
