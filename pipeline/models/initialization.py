"""Initialization of the weights of a linear or convolutional layer: a row each. Biases start at zero."""

import math
from collections.abc import Callable

from torch import nn

from pipeline.config.model import resolve_initialization

Layer = nn.Linear | nn.Conv2d


def _fan_in(layer: Layer) -> int:
    """Returns how many values an output is a sum of: a kernel's in all its input channels."""
    return layer.weight[0].numel()


def _he(layer: Layer, negative_slope: float, gain: float | None) -> None:
    """N(0, 2 / ((1 + slope^2) * fan_in)): He et al., ICCV 2015."""
    own = math.sqrt(2.0 / (1.0 + negative_slope**2))
    nn.init.normal_(layer.weight, std=(gain or own) / math.sqrt(_fan_in(layer)))


def _glorot(layer: Layer, _negative_slope: float, gain: float | None) -> None:
    """N(0, 1 / fan_avg), fan_avg = (fan_in + fan_out) / 2: Glorot and Bengio, AISTATS 2010."""
    nn.init.xavier_normal_(layer.weight, gain or 1.0)


def _lecun(layer: Layer, _negative_slope: float, gain: float | None) -> None:
    """N(0, 1 / fan_in): LeCun et al., 1998. (PyTorch's gain for SELU, 3/4, would make a deep network collapse.)"""
    nn.init.normal_(layer.weight, std=(gain or 1.0) / math.sqrt(_fan_in(layer)))


def _torch(layer: Layer, _negative_slope: float, _gain: float | None) -> None:
    """PyTorch's own: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases as well."""
    layer.reset_parameters()


INITIALIZATIONS: dict[str, Callable[[Layer, float, float | None], None]] = {
    "he": _he,
    "glorot": _glorot,
    "lecun": _lecun,
    "torch": _torch,
}


def initialize(
    layer: Layer, name: str, *, activation: str, negative_slope: float = 0.0, gain: float | None = None
) -> None:
    """Initializes a layer in place.

    Args:
        layer: The layer.
        name: A key of `INITIALIZATIONS`, or ``auto`` for the one that suits the activation.
        activation: The activation that follows the layer; anything not in `SUITED_INITIALIZATION` gets He's.
        negative_slope: The slope of a leaky ReLU that follows, 0 for anything else.
        gain: Standard deviation of the weights times sqrt(fan_in) (Glorot: sqrt(fan_avg)); None for the
            initialization's own. PyTorch's has none.
    """
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    INITIALIZATIONS[resolve_initialization(name, activation)](layer, negative_slope, gain)
