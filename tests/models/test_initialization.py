"""Initialization: the variance of each row, which one `auto` takes, and what depth makes of the gradient."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.model import MlpConfig
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.initialization import INITIALIZATIONS, initialize
from pipeline.models.mlp import Mlp

IN, OUT = 1500, 500


def _initialized(name: str, *, activation: str = "relu", negative_slope: float = 0.0, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(IN, OUT, bias=bias)
    torch.manual_seed(0)
    initialize(layer, name, activation=activation, negative_slope=negative_slope)
    return layer


def test_table_and_schema_have_the_same_names() -> None:
    words = set(get_args(MlpConfig.model_fields["initialization"].annotation))
    assert {*INITIALIZATIONS, "auto"} == words


@pytest.mark.parametrize(
    ("name", "slope", "variance"),
    [
        ("he", 0.0, 2 / IN),
        ("he", 0.5, 2 / (1.25 * IN)),
        ("glorot", 0.0, 2 / (IN + OUT)),
        ("lecun", 0.0, 1 / IN),
        ("torch", 0.0, 1 / (3 * IN)),
    ],
)
def test_variance(name: str, slope: float, variance: float) -> None:
    weight = _initialized(name, negative_slope=slope).weight.detach()
    assert weight.var().item() == pytest.approx(variance, rel=0.01)
    assert abs(weight.mean().item()) < 0.01 * math.sqrt(variance)


@pytest.mark.parametrize(("name", "is_normal"), [("he", True), ("glorot", True), ("lecun", True), ("torch", False)])
def test_normal_but_for_torch_which_is_uniform(name: str, is_normal: bool) -> None:
    weight = _initialized(name).weight.detach()
    kurtosis = ((weight / weight.std()) ** 4).mean().item()
    assert kurtosis == pytest.approx(3.0 if is_normal else 1.8, rel=0.02)


@pytest.mark.parametrize("name", ["he", "glorot", "lecun"])
def test_biases_are_zero(name: str) -> None:
    assert not _initialized(name).bias.any()


def test_torch_biases_are_uniform_up_to_the_bound() -> None:
    bias, bound = _initialized("torch").bias.detach(), 1 / math.sqrt(IN)
    assert 0.98 * bound < bias.abs().max() <= bound


@pytest.mark.parametrize("name", [*INITIALIZATIONS, "auto"])
def test_a_layer_without_bias_is_no_trouble(name: str) -> None:
    assert _initialized(name, bias=False).weight.isfinite().all()


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_auto_takes_what_suits_the_activation(activation: str) -> None:
    suited = {"tanh": "glorot", "sigmoid": "glorot", "selu": "lecun"}.get(activation, "he")
    auto = _initialized("auto", activation=activation, negative_slope=0.3).weight
    assert torch.equal(auto, _initialized(suited, negative_slope=0.3).weight)


def test_what_is_named_overrules_the_activation() -> None:
    assert torch.equal(_initialized("glorot", activation="relu").weight, _initialized("glorot").weight)
    assert not torch.equal(_initialized("glorot", activation="relu").weight, _initialized("auto").weight)


@pytest.mark.parametrize(
    ("activation", "slope", "variance"),
    [("leaky_relu", 0.5, 1.6 / IN), ("prelu", 0.5, 1.6 / IN), ("relu", 0.5, 2 / IN), ("elu", 0.5, 2 / IN)],
)
def test_only_leaky_activations_correct_for_the_slope(activation: str, slope: float, variance: float) -> None:
    model = Mlp(IN, 2, widths=[OUT], activation=activation, negative_slope=slope)
    assert model.get_parameter("layers.1.weight").var().item() == pytest.approx(variance, rel=0.01)


@pytest.mark.parametrize(
    ("initialization", "variance"), [("auto", 2 / (IN + OUT)), ("he", 2 / (IN + OUT)), ("torch", 1 / (3 * IN))]
)
def test_output_layer_has_glorots_or_torchs(initialization: str, variance: float) -> None:
    model = Mlp(8, OUT, widths=[IN], activation="relu", initialization=initialization)
    output = model.layers[-1]
    assert isinstance(output, nn.Linear)
    assert output.weight.var().item() == pytest.approx(variance, rel=0.01)
    assert bool(output.bias.any()) == (initialization == "torch")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("activation", "initialization", "low", "high"),
    [
        ("sigmoid", "glorot", 1e-14, 1e-10),
        ("tanh", "glorot", 0.05, 0.5),
        ("relu", "he", 0.2, 5.0),
        ("relu", "torch", 1e-10, 1e-5),
        ("selu", "lecun", 0.5, 10.0),
    ],
)
def test_gradient_through_20_layers(activation: str, initialization: str, low: float, high: float, seed: int) -> None:
    """First to last, by the norm at the layers' outputs: what suits the activation keeps it, what does not loses it."""
    torch.manual_seed(seed)
    model = Mlp(784, 10, widths=[100] * 20, activation=activation, initialization=initialization)
    outputs: list[Tensor] = []
    for layer in model.layers:
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    loss = nn.functional.cross_entropy(model(torch.randn(256, 1, 28, 28)), torch.randint(10, (256,)))
    first, last = torch.autograd.grad(loss, [outputs[0], outputs[19]])
    assert low < (first.norm() / last.norm()).item() < high
