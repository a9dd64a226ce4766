"""Networks. `build_model` makes the one that a configuration describes."""

import math

from torch import nn

from pipeline.config import Dropout, MlpConfig
from pipeline.models.mlp import Mlp


def build_model(config: MlpConfig, *, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Builds a freshly initialized network; PyTorch's global generator decides the weights.

    Args:
        config: The network's description.
        image_shape: (channels, height, width).
        num_classes: Number of classes.

    Returns:
        A module from standardized images (batch, channels, height, width) to logits (batch, classes).
    """
    dropout = config.dropout if isinstance(config.dropout, Dropout) else None
    return Mlp(
        math.prod(image_shape),
        num_classes,
        widths=config.widths,
        activation=config.activation,
        negative_slope=config.negative_slope,
        elu_alpha=config.elu_alpha,
        initialization=config.initialization,
        initialization_gain=config.initialization_gain,
        batch_norm=config.batch_norm,
        input_batch_norm=config.input_batch_norm,
        batch_norm_alpha=config.batch_norm_alpha,
        batch_norm_epsilon=config.batch_norm_epsilon,
        dropout_rate=dropout.rate if dropout else 0.0,
        dropout_layers=dropout.last_layers if dropout else 0,
        input_dropout_rate=dropout.input_rate if dropout else 0.0,
        alpha_dropout=config.uses_alpha_dropout,
        test_scaled_dropout=dropout is not None and dropout.scaling == "test",
    )


def num_parameters(model: nn.Module) -> int:
    """Returns the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
