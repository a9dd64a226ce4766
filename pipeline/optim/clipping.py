"""Gradient clipping: a row each. All work in place, and report what they saw without waiting for the device."""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.config import training as configs
from pipeline.optim.parameters import FlatParameters

# Clips, and returns the norm of the whole gradient before, and whether that changed it, both 0-dimensional.
Clip = Callable[[], tuple[Tensor, Tensor]]

# What PyTorch adds to a norm before it divides by it.
EPSILON = 1e-6


def total_norm(gradients: Sequence[Tensor], order: float = 2.0) -> Tensor:
    """Returns the norm of all gradients as if they were one vector, 0-dimensional."""
    norms: list[Tensor] = [torch.linalg.vector_norm(gradient, order) for gradient in gradients]
    if len(norms) > 1:
        norms = [torch.linalg.vector_norm(torch.stack(norms), order)]
    return norms[0]


def none(gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Changes nothing."""
    norm = total_norm(gradients)
    return norm, torch.zeros_like(norm, dtype=torch.bool)


def by_value(gradients: Sequence[Tensor], *, threshold: float) -> tuple[Tensor, Tensor]:
    """Cuts each component to [-threshold, threshold]: [0.9, 100] becomes [0.9, 1.0] at 1, another direction."""
    norm = total_norm(gradients)
    largest = total_norm(gradients, order=math.inf)
    for gradient in gradients:
        gradient.clamp_(-threshold, threshold)
    return norm, largest > threshold


def by_norm(gradients: Sequence[Tensor], *, threshold: float) -> tuple[Tensor, Tensor]:
    """Scales the whole gradient to a norm of at most the threshold: Pascanu et al., ICML 2013.

    [0.9, 100] becomes [0.00899964, 0.9999595] at 1: the direction stays.
    """
    norm = total_norm(gradients)
    scale = (threshold / (norm + EPSILON)).clamp_(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)
    return norm, norm > threshold


def by_tensor_norm(gradients: Sequence[Tensor], *, threshold: float) -> tuple[Tensor, Tensor]:
    """Scales each tensor's gradient to a norm of at most the threshold (Keras's clipnorm)."""
    norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
    scales = (threshold / (norms + EPSILON)).clamp_(max=1.0)
    for gradient, scale in zip(gradients, scales.unbind(), strict=True):
        gradient.mul_(scale)
    return torch.linalg.vector_norm(norms), (norms > threshold).any()


CLIPS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "none": none,
    "value": by_value,
    "norm": by_norm,
    "tensor_norm": by_tensor_norm,
}


def build_clip(config: configs.ClippingConfig, parameters: FlatParameters) -> Clip:
    """Returns the clipping that a configuration describes, bound to the gradients it acts on."""
    by_tensor = isinstance(config, configs.ClipTensorNorm)
    gradients = parameters.gradients_by_tensor if by_tensor else [parameters.gradient]
    clip = functools.partial(CLIPS[config.kind], gradients)
    return clip if isinstance(config, configs.NoClipping) else functools.partial(clip, threshold=config.threshold)


def limit_row_norms(weights: Sequence[Tensor], max_norm: float) -> None:
    """Scales each unit's incoming weights back to a norm of at most ``max_norm`` (max-norm regularization).

    Args:
        weights: Weight matrices, (units, inputs), changed in place.
        max_norm: Largest Euclidean norm of a row.
    """
    for weight in weights:
        torch.renorm(weight, p=2.0, dim=0, maxnorm=max_norm, out=weight)
