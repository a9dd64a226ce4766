"""Networks. `build_model` makes the one that a configuration describes."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.config.kinds import BUILT_IN, Kind, built, kind_name, kinds
from pipeline.config.model import BackboneConfig, MlpConfig, ModelBlock
from pipeline.core.errors import PluginError
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
        PluginError: A plug-in's builder has failed, or what it has built does not classify such images.
    """
    network: nn.Module = built(config, image_shape, num_classes, returns=nn.Module)
    if (row := kinds(config.group)[config.kind]).origin != BUILT_IN:
        _check_output(network, row, image_shape, num_classes)
    return network


def _check_output(network: nn.Module, row: Kind, image_shape: ImageShape, num_classes: int) -> None:
    """Proves that a plug-in's network classifies images; lazy layers get their shapes.

    Raises:
        PluginError: It does not.
    """
    was_training = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = network.eval()(torch.zeros(2, *image_shape))
    except Exception as error:
        raise PluginError(f"model {kind_name(row.block)} cannot take images: {row.failure(error)}") from error
    network.train(was_training)
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (2, num_classes):
        raise PluginError(
            f"model {kind_name(row.block)} ({row.origin}) must return logits of shape (batch, {num_classes}); got "
            f"{found} for a batch of 2 images of shape {image_shape}. End with a layer of num_outputs units"
        )


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
