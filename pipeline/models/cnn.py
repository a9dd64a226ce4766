"""The convolutional network."""

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipeline.config.cnn import CnnConfig
from pipeline.core.errors import ModelError
from pipeline.models.activations import build_activation
from pipeline.models.initialization import initialize
from pipeline.models.layers import build_layers

POOLINGS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
GLOBAL_POOLINGS: dict[str, type[nn.AdaptiveMaxPool2d] | type[nn.AdaptiveAvgPool2d]] = {
    "max": nn.AdaptiveMaxPool2d,
    "average": nn.AdaptiveAvgPool2d,
}


class Residual(nn.Module):
    """A block's layers, and a shortcut around them: He et al., CVPR 2016.

    Args:
        shortcut: From the block's input to the shape of its output.
        branch: The layers; they end before an activation.
        end: What follows the sum.
    """

    def __init__(self, shortcut: nn.Module, branch: nn.Module, end: nn.Module) -> None:
        super().__init__()
        self.shortcut, self.branch, self.end = shortcut, branch, end

    def forward(self, maps: Tensor) -> Tensor:
        """Returns maps (batch, channels, height, width)."""
        # First, so that gradient flow gives the sum's activation to the branch's last convolution.
        shortcut = self.shortcut(maps)
        output: Tensor = self.end(self.branch(maps) + shortcut)
        return output


class Cnn(nn.Module):
    """Convolutions, and fully connected layers on what they give.

    Args:
        body: From images (batch, channels, height, width) to maps or features (batch, ...).
        head: From those to logits (batch, classes).
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (batch, classes).

        Args:
            images: Standardized images, (batch, channels, height, width).
        """
        logits: Tensor = self.head(self.body(images))
        return logits


def build_cnn(config: CnnConfig, image_shape: tuple[int, int, int], num_classes: int) -> Cnn:
    """Builds a freshly initialized convolutional network; PyTorch's global generator decides the weights.

    Args:
        config: Its description.
        image_shape: (channels, height, width).
        num_classes: Number of classes.

    Raises:
        ModelError: The images are too small to be halved so often.
    """
    channels, height, width = image_shape
    if (message := config.too_small(height, width)) is not None:
        raise ModelError(f"model.stages: {message}")
    parts: list[tuple[str, nn.Module]] = []
    if config.input_batch_norm:
        parts.append(("input_norm", _normalization(config, channels)))
    inputs = channels
    for index, outputs in enumerate(config.stage_channels):
        parts.append((f"stage{index + 1}", _stage(config, inputs, outputs, halves=index > 0)))
        inputs = outputs
    if config.global_pooling != "none":
        parts.append(("pool", GLOBAL_POOLINGS[config.global_pooling](1)))
    head = build_layers(config.head, num_inputs=config.num_features(height, width), num_classes=num_classes)
    network = Cnn(nn.Sequential(OrderedDict(parts)), head)
    # On a processor it takes 0.77 times as long (docs/networks.md).
    return network.to(memory_format=torch.channels_last)


def _stage(config: CnnConfig, inputs: int, outputs: int, *, halves: bool) -> nn.Module:
    parts: list[tuple[str, nn.Module]] = []
    stride = 2 if halves and config.pooling == "stride" else 1
    if halves and config.pooling != "stride":
        parts.append(("pool", POOLINGS[config.pooling](2)))
    for index in range(config.blocks):
        block = _residual_block if config.block == "residual" else _plain_block
        parts.append((f"block{index + 1}", block(config, inputs, outputs, stride if index == 0 else 1)))
        inputs = outputs
    return nn.Sequential(OrderedDict(parts))


def _plain_block(config: CnnConfig, inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(*_convolution(config, inputs, outputs, stride), *_end(config, outputs), *_dropout(config))


def _residual_block(config: CnnConfig, inputs: int, outputs: int, stride: int) -> nn.Module:
    shortcut: nn.Module = nn.Identity()
    if inputs != outputs or stride != 1:
        projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        _initialize(config, projection)
        shortcut = projection
        if config.batch_norm == "before":
            shortcut = nn.Sequential(projection, _normalization(config, outputs))
    branch = nn.Sequential(
        *_convolution(config, inputs, outputs, stride),
        *_end(config, outputs),
        *_convolution(config, outputs, outputs, 1),
    )
    return Residual(shortcut, branch, nn.Sequential(*_end(config, outputs), *_dropout(config)))


def _convolution(config: CnnConfig, inputs: int, outputs: int, stride: int) -> Iterator[nn.Module]:
    """Yields a convolution that keeps the maps' size but for its stride, and the normalization before an activation."""
    size = config.kernel_size
    if size % 2 == 0:  # one more row and column below and right, as TensorFlow has it; a convolution pads evenly
        yield nn.ZeroPad2d(((size - 1) // 2, size // 2) * 2)
    convolution = nn.Conv2d(
        inputs,
        outputs,
        size,
        stride,
        padding=size // 2 if size % 2 else 0,
        # Normalization before the activation subtracts the mean: a bias there would be redundant.
        bias=config.batch_norm != "before",
    )
    _initialize(config, convolution)
    yield convolution
    if config.batch_norm == "before":
        yield _normalization(config, outputs)


def _end(config: CnnConfig, channels: int) -> Iterator[nn.Module]:
    """Yields an activation, and the normalization after it."""
    yield build_activation(config.activation, negative_slope=config.negative_slope, elu_alpha=config.elu_alpha)
    if config.batch_norm == "after":
        yield _normalization(config, channels)


def _dropout(config: CnnConfig) -> Iterator[nn.Module]:
    if config.channel_dropout > 0.0:
        kind = nn.FeatureAlphaDropout if config.activation == "selu" else nn.Dropout2d
        yield kind(config.channel_dropout)


def _normalization(config: CnnConfig, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=config.batch_norm_epsilon, momentum=config.batch_norm_alpha)


def _initialize(config: CnnConfig, convolution: nn.Conv2d) -> None:
    initialize(
        convolution,
        config.initialization,
        activation=config.activation,
        negative_slope=config.negative_slope if config.activation in ("leaky_relu", "prelu") else 0.0,
        gain=config.initialization_gain,
    )
