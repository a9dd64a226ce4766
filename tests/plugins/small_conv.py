"""A small convolutional network, as a plug-in: `--plugin tests/plugins/small_conv.py`."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from pipeline.plugins.contract import ModelBlock, register


class SmallConv(ModelBlock):
    """Two convolutions, each followed by ReLU and pooling, and a linear classifier."""

    kind: Literal["small_conv"] = "small_conv"
    filters: Annotated[int, Field(ge=1, le=512)] = 16
    """Filters of the first convolution; the second has twice as many."""
    kernel: Literal[3, 5] = 3
    """Height and width of the filters."""


@register(SmallConv)
def build_small_conv(block: SmallConv, input_shape: tuple[int, int, int], num_outputs: int) -> nn.Module:
    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, block.kernel, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]

    layers = convolution(input_shape[0], block.filters) + convolution(block.filters, 2 * block.filters)
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(num_outputs))
