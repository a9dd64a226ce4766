"""A network of your own, as a plug-in: the block has its settings, the function builds it."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from pipeline.plugins.contract import ModelBlock, register


class GatedMlp(ModelBlock):
    """A hidden layer of gated linear units: Dauphin et al., ICML 2017."""

    kind: Literal["gated_mlp"] = "gated_mlp"
    units: Annotated[int, Field(ge=1, le=4096)] = 64
    """Gated units."""
    gate: Literal["sigmoid", "tanh"] = "sigmoid"
    """What gates them."""


class Gate(nn.Module):
    def __init__(self, inputs: int, units: int, gate: str) -> None:
        super().__init__()
        self.linear, self.gate = nn.Linear(inputs, 2 * units), gate

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values, gates = self.linear(images).chunk(2, dim=1)
        return values * (torch.sigmoid(gates) if self.gate == "sigmoid" else torch.tanh(gates))


@register(GatedMlp)
def build_gated_mlp(block: GatedMlp, input_shape: tuple[int, int, int], num_outputs: int) -> nn.Module:
    channels, height, width = input_shape
    gate = Gate(channels * height * width, block.units, block.gate)
    return nn.Sequential(nn.Flatten(), gate, nn.Linear(block.units, num_outputs))
