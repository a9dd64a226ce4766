"""Networks. `build_model` makes the one that a configuration describes."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.config.kinds import build
from pipeline.config.model import BackboneConfig, MlpConfig, ModelBlock
from pipeline.models.cnn import build_cnn
from pipeline.models.layers import build_layers

if TYPE_CHECKING:
    from pipeline.models.backbones.backbone import Backbone

ImageShape = tuple[int, int, int]


def build_model(config: ModelBlock, *, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Builds a freshly initialized network on the processor; PyTorch's global generator decides the weights.

    Args:
        config: The network's description.
        image_shape: (channels, height, width) of prepared images.
        num_classes: Number of classes.

    Returns:
        A module from standardized images (batch, channels, height, width) to logits (batch, classes).

    Raises:
        ModelError: It cannot be built.
    """
    network: nn.Module = build(config, image_shape, num_classes)
    return network


def _build_mlp(config: MlpConfig, image_shape: ImageShape, num_classes: int) -> nn.Module:
    return build_layers(config, num_inputs=math.prod(image_shape), num_classes=num_classes)


def _build_backbone(config: BackboneConfig, image_shape: ImageShape, num_classes: int) -> "Backbone":
    from pipeline.models.backbones.backbone import build_backbone  # loads timm, which other networks do without

    return build_backbone(config, channels=image_shape[0], num_classes=num_classes, device=torch.device("cpu"))


# From its settings, the shape of an image, and the number of classes.
MODELS: dict[str, Callable[[Any, ImageShape, int], nn.Module]] = {
    "mlp": _build_mlp,
    "cnn": build_cnn,
    "backbone": _build_backbone,
}


def num_parameters(model: nn.Module) -> int:
    """Returns the number of parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())
