"""Optimizers: what decays, which implementation runs, and that each setting arrives."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config import training as configs
from pipeline.config.kinds import kind_name
from pipeline.config.schema import kinds_of
from pipeline.config.training import OptimizerConfig
from pipeline.models.mlp import Mlp
from pipeline.optim.optimizers import OPTIMIZERS, build_optimizer, parameter_groups
from pipeline.optim.parameters import FlatParameters

KINDS = tuple(kinds_of(OptimizerConfig).values())


def _one_weight(value: float = 1.0) -> nn.Linear:
    """A matrix and a bias of one number each."""
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, value)
    return layer


def _step(config: OptimizerConfig, *, gradient: float) -> tuple[float, float]:
    layer = _one_weight()
    parameters = FlatParameters(layer)
    optimizer = build_optimizer(config, parameters)
    parameters.gradient.fill_(gradient)
    optimizer.step()
    return layer.weight.item(), layer.bias.item()


def test_table_and_schema_have_the_same_kinds() -> None:
    assert set(OPTIMIZERS) == set(map(kind_name, KINDS))


@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_only_matrices_decay(activation: str) -> None:
    model = Mlp(9, 4, widths=[8, 7], activation=activation, batch_norm="after", input_batch_norm=True)
    decaying, others = parameter_groups(FlatParameters(model), lr=0.1, weight_decay=0.3)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    matrices = [layer.weight for layer in model.layers if isinstance(layer, nn.Linear)]
    ((matrix_values,), (other_values,)) = decaying["params"], others["params"]
    torch.testing.assert_close(matrix_values.data, torch.cat([matrix.detach().reshape(-1) for matrix in matrices]))
    assert matrix_values.numel() + other_values.numel() == sum(parameter.numel() for parameter in model.parameters())


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad_(False)
    (group,) = parameter_groups(FlatParameters(layer), lr=0.1, weight_decay=0.3)
    assert [parameter.tolist() for parameter in group["params"]] == [layer.bias.tolist()]
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_fused_where_pytorch_has_it(kind: type[configs.OptimizerBlock]) -> None:
    optimizer = build_optimizer(kind.model_validate({}), FlatParameters(nn.Linear(3, 2)))
    has_fused = "fused" in inspect.signature(type(optimizer).__init__).parameters
    assert all(group["fused" if has_fused else "foreach"] is True for group in optimizer.param_groups)


@pytest.mark.parametrize("kind", KINDS)
def test_minimizes_a_quadratic(kind: type[configs.OptimizerBlock]) -> None:
    layer = nn.Linear(20, 10)
    parameters = FlatParameters(layer)
    optimizer = build_optimizer(kind.model_validate({"lr": 0.01}), parameters)

    def loss() -> torch.Tensor:
        return layer.weight.square().sum() + layer.bias.square().sum()

    before = loss().item()
    for _ in range(200):
        parameters.gradient.zero_()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.01 * before


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (configs.Sgd(), {"lr": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
        (configs.Sgd(lr=0.3, momentum=0.5, nesterov=True), {"lr": 0.3, "momentum": 0.5, "nesterov": True}),
        (configs.RmsProp(), {"lr": 1e-3, "alpha": 0.9, "momentum": 0.0}),
        (configs.RmsProp(alpha=0.8, momentum=0.7), {"alpha": 0.8, "momentum": 0.7}),
        (configs.Adam(), {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.0}),
        (configs.Adam(lr=0.2, beta1=0.8, beta2=0.7, weight_decay=0.1), {"lr": 0.2, "betas": (0.8, 0.7)}),
        (configs.AdamW(), {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.01}),
        (configs.AdamW(beta1=0.8, beta2=0.7, weight_decay=0.1), {"betas": (0.8, 0.7), "weight_decay": 0.1}),
        (configs.NAdam(), {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.0}),
        (configs.NAdam(beta1=0.8, beta2=0.7), {"betas": (0.8, 0.7)}),
    ],
)
def test_settings_arrive(config: OptimizerConfig, expected: dict[str, Any]) -> None:
    group = build_optimizer(config, FlatParameters(nn.Linear(3, 2))).param_groups[0]
    assert {name: group[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("config", "moved"),
    [
        (configs.Sgd(lr=0.1, momentum=0.9), 0.1 * 4.0),
        (configs.Sgd(lr=0.1, momentum=0.9, nesterov=True), 0.1 * 1.9 * 4.0),
        (configs.RmsProp(lr=0.1), 0.1 / 0.1**0.5),
        (configs.Adam(lr=0.1), 0.1),
        (configs.AdamW(lr=0.1, weight_decay=0.0), 0.1),
    ],
)
def test_first_step(config: OptimizerConfig, moved: float) -> None:
    assert _step(config, gradient=4.0) == pytest.approx((1.0 - moved, 1.0 - moved), rel=1e-5)


@pytest.mark.parametrize(
    ("config", "weight"),
    [
        (configs.Sgd(lr=0.1, weight_decay=0.5), 1.0 - 0.1 * 0.5),
        (configs.AdamW(lr=0.1, weight_decay=0.5), 1.0 - 0.1 * 0.5),
        (configs.Adam(lr=0.1, weight_decay=0.5), 1.0 - 0.1),
    ],
)
def test_decay_shrinks_the_weight_and_not_the_bias(config: OptimizerConfig, weight: float) -> None:
    """AdamW's is decoupled; Adam's goes through the gradient, whose size Adam divides out."""
    assert _step(config, gradient=0.0) == pytest.approx((weight, 1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_each_part_learns_at_its_rate(kind: type[configs.OptimizerBlock]) -> None:
    lower, head = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.Sequential(lower, head)
    nn.init.zeros_(lower.weight)
    nn.init.zeros_(head.weight)
    parameters = FlatParameters(model, {"0.weight": 0.25, "0.bias": 0.25})
    optimizer = build_optimizer(kind.model_validate({"lr": 0.2, "weight_decay": 0.5}), parameters)
    groups = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert groups == [(0.2, 0.5), (0.2, 0.0), (0.05, 0.5), (0.05, 0.0)]  # the head's first: its rate is reported
    parameters.gradient.fill_(1.0)
    optimizer.step()
    moved, head_moved = lower.weight.detach(), head.weight.detach()
    assert bool((head_moved < 0.0).all())
    torch.testing.assert_close(moved, 0.25 * head_moved)
