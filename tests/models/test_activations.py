"""Activations: their published values, and one row for each word of the schema."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from pipeline.config.model import MlpConfig
from pipeline.models.activations import ACTIVATIONS, build_activation
from pipeline.models.build import build_model

VALUES = [
    ("relu", -1.0, 0.0),
    ("relu", 2.0, 2.0),
    ("leaky_relu", -1.0, -0.01),
    ("leaky_relu", 2.0, 2.0),
    ("elu", -1.0, -0.63212),
    ("elu", -math.inf, -1.0),
    ("elu", 2.0, 2.0),
    ("selu", 1.0, 1.050701),
    ("selu", -1.0, -1.111331),
    ("selu", -math.inf, -1.758099),
    ("tanh", 1.0, 0.761594),
    ("sigmoid", 0.0, 0.5),
    ("sigmoid", 1.0, 0.731059),
    ("prelu", -1.0, -0.01),
    ("gelu", 1.0, 0.841345),
    ("gelu", -1.0, -0.158655),
    ("silu", 1.0, 0.731059),
    ("silu", -1.0, -0.268941),
]


@pytest.mark.parametrize(("name", "z", "expected"), VALUES)
def test_values(name: str, z: float, expected: float) -> None:
    assert build_activation(name)(torch.tensor([z])).item() == pytest.approx(expected, abs=2e-6)


def test_table_schema_and_values_have_the_same_names() -> None:
    words = set(get_args(MlpConfig.model_fields["activation"].annotation))
    assert set(ACTIVATIONS) == words == {name for name, _, _ in VALUES}


@pytest.mark.parametrize("name", ["leaky_relu", "prelu"])
def test_negative_slope(name: str) -> None:
    assert build_activation(name, negative_slope=0.2)(torch.tensor([-3.0])).item() == pytest.approx(-0.6)


def test_prelu_learns_one_slope_a_layer() -> None:
    assert [parameter.numel() for parameter in build_activation("prelu").parameters()] == [1]


def test_elu_alpha_is_minus_the_limit() -> None:
    assert build_activation("elu", elu_alpha=2.5)(torch.tensor([-50.0])).item() == pytest.approx(-2.5)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_each_row_trains_in_a_network(name: str) -> None:
    config = MlpConfig.model_validate({"hidden_layers": 3, "width": 20, "activation": name})
    model = build_model(config, image_shape=(3, 5, 5), num_classes=7)
    logits = model(torch.randn(32, 3, 5, 5))
    nn.functional.cross_entropy(logits, torch.arange(32) % 7).backward()
    assert logits.shape == (32, 7)
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()
