"""Networks. `build_model` makes the one that a configuration describes."""

import math

from torch import nn

from pipeline.config.model import MlpConfig
from pipeline.models.layers import build_layers


def build_mlp(config: MlpConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Builds a freshly initialized perceptron; PyTorch's global generator decides the weights.

    Args:
        config: The network's description.
        image_shape: (channels, height, width).
        num_classes: Number of classes.

    Returns:
        A module from standardized images (batch, channels, height, width) to logits (batch, classes).
    """
    return build_layers(config, num_inputs=math.prod(image_shape), num_classes=num_classes)


def num_parameters(model: nn.Module) -> int:
    """Returns the number of parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())
