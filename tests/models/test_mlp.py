"""The multilayer perceptron: which layers in which order, and what they compute."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config.model import Dropout, MlpConfig
from pipeline.models.build import build_model, num_parameters
from pipeline.models.mlp import Mlp


def _mlp(widths: Sequence[int] = (6, 5), **settings: Any) -> Mlp:
    return Mlp(12, 3, widths=widths, **{"activation": "relu", **settings})


def _built(**settings: Any) -> nn.Sequential:
    model = build_model(MlpConfig(**settings), image_shape=(1, 4, 3), num_classes=3)
    assert isinstance(model, Mlp)
    return model.layers


def _names(layers: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in layers]


@pytest.mark.parametrize(
    ("batch_norm", "hidden"),
    [
        ("none", ["Linear", "ReLU", "Dropout"]),
        ("before", ["Linear", "BatchNorm1d", "ReLU", "Dropout"]),
        ("after", ["Linear", "ReLU", "BatchNorm1d", "Dropout"]),
    ],
)
def test_order_of_a_hidden_layer(batch_norm: str, hidden: list[str]) -> None:
    layers = _built(hidden_layers=2, width=6, batch_norm=batch_norm, dropout=Dropout(last_layers=2))
    assert _names(layers) == ["Flatten", *hidden, *hidden, "Linear"]


@pytest.mark.parametrize(("batch_norm", "has_bias"), [("none", True), ("before", False), ("after", True)])
def test_no_bias_where_normalization_would_subtract_it(batch_norm: str, has_bias: bool) -> None:
    linears = [layer for layer in _mlp(batch_norm=batch_norm).layers if isinstance(layer, nn.Linear)]
    assert [linear.bias is not None for linear in linears] == [has_bias, has_bias, True]


def test_input_is_normalized_and_then_dropped() -> None:
    layers = _built(width=[6], batch_norm="none", input_batch_norm=True, dropout=Dropout(input_rate=0.25, rate=0.0))
    assert _names(layers) == ["Flatten", "BatchNorm1d", "Dropout", "Linear", "ReLU", "Linear"]
    assert layers[1].num_features == 12
    assert layers[2].p == 0.25


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
@pytest.mark.parametrize("input_batch_norm", [False, True])
def test_output_is_linear_and_nothing_more(batch_norm: str, input_batch_norm: bool) -> None:
    dropout = Dropout(rate=0.5, last_layers=9, input_rate=0.5)
    layers = _built(width=[6, 5], batch_norm=batch_norm, input_batch_norm=input_batch_norm, dropout=dropout)
    assert isinstance(layers[-1], nn.Linear)
    assert layers[-1].out_features == 3
    assert layers[-1].bias is not None


@pytest.mark.parametrize(("last_layers", "drops"), [(1, [0, 0, 1]), (2, [0, 1, 1]), (3, [1, 1, 1]), (7, [1, 1, 1])])
def test_dropout_after_the_last_layers(last_layers: int, drops: list[int]) -> None:
    layers = _built(width=[8, 7, 6], batch_norm="none", dropout=Dropout(rate=0.3, last_layers=last_layers))
    hidden = [name for drop in drops for name in ["Linear", "ReLU", "Dropout"][: 2 + drop]]
    assert _names(layers) == ["Flatten", *hidden, "Linear"]
    assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.3}


def test_no_dropout_unless_asked_for() -> None:
    assert "Dropout" not in _names(_built())


@pytest.mark.parametrize(
    ("activation", "variant", "expected"),
    [
        ("selu", "auto", nn.AlphaDropout),
        ("relu", "auto", nn.Dropout),
        ("elu", "auto", nn.Dropout),
        ("selu", "alpha", nn.AlphaDropout),
        ("selu", "standard", nn.Dropout),
    ],
)
def test_alpha_dropout_goes_with_selu(activation: str, variant: str, expected: type[nn.Module]) -> None:
    dropout = Dropout.model_validate({"rate": 0.2, "last_layers": 2, "input_rate": 0.1, "variant": variant})
    layers = _built(width=[6, 5], activation=activation, batch_norm="none", dropout=dropout)
    dropouts = [layer for layer in layers if "Dropout" in type(layer).__name__]
    assert [(type(layer), getattr(layer, "p", None)) for layer in dropouts] == [
        (expected, 0.1),
        (expected, 0.2),
        (expected, 0.2),
    ]


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    layers = _built(width=[6], activation="selu", dropout=Dropout(rate=0.4))
    (dropout,) = (layer for layer in layers if isinstance(layer, nn.AlphaDropout))
    dropped = dropout(torch.randn(400_000))
    assert dropped.mean().item() == pytest.approx(0.0, abs=0.01)
    assert dropped.var().item() == pytest.approx(1.0, abs=0.01)


def test_dropout_is_inverted() -> None:
    (dropout,) = (layer for layer in _mlp([6], dropout_rate=0.2, dropout_layers=1).layers if type(layer) is nn.Dropout)
    ones = torch.ones(200_000)
    dropped = dropout(ones)
    assert dropped.unique().tolist() == [0.0, 1.25]
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(dropout.eval()(ones), ones)


@pytest.mark.parametrize(("settings", "widths"), [({"width": [30, 20, 10]}, [30, 20, 10]), ({"width": 9}, [9, 9, 9])])
def test_widths(settings: dict[str, Any], widths: list[int]) -> None:
    linears = [layer for layer in _built(**settings) if isinstance(layer, nn.Linear)]
    assert [linear.out_features for linear in linears] == [*widths, 3]
    assert [linear.in_features for linear in linears] == [12, *widths]


@pytest.mark.parametrize("place", ["before", "after", "input"])
def test_moving_statistics_follow_eq_19(place: str) -> None:
    where = {"input_batch_norm": True} if place == "input" else {"batch_norm": place}
    layers = _mlp([6], batch_norm_alpha=0.3, batch_norm_epsilon=1e-4, **where).layers
    (index,) = (index for index, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm1d))
    images = 3.0 + 2.0 * torch.randn(20, 1, 4, 3)
    seen = layers[:index](images)
    normalized = layers[: index + 1](images)

    mean, deviation = seen.mean(0), (seen.var(0, correction=0) + 1e-4).sqrt()
    torch.testing.assert_close(normalized, (seen - mean) / deviation)
    torch.testing.assert_close(layers[index].running_mean, 0.3 * mean)
    torch.testing.assert_close(layers[index].running_var, 0.7 + 0.3 * seen.var(0, correction=1))


def test_settings_arrive() -> None:
    settings = {"activation": "elu", "elu_alpha": 2.0, "batch_norm_alpha": 0.3, "batch_norm_epsilon": 1e-3}
    normalization, elu = _built(**settings)[2:4]
    assert isinstance(elu, nn.ELU)
    assert isinstance(normalization, nn.BatchNorm1d)
    assert (elu.alpha, normalization.momentum, normalization.eps) == (2.0, 0.3, 1e-3)
    assert _built(activation="leaky_relu", negative_slope=0.2, batch_norm="none")[2].negative_slope == 0.2
    assert not _built(batch_norm="none").get_parameter("1.bias").any()
    assert _built(batch_norm="none", initialization="torch").get_parameter("1.bias").all()


def test_logits_of_a_network_worked_by_hand() -> None:
    model = _mlp([5, 4], activation="tanh").eval()
    first, second, output = (layer for layer in model.layers if isinstance(layer, nn.Linear))
    images = torch.randn(8, 1, 4, 3)
    hidden = torch.tanh(torch.tanh(images.reshape(8, 12) @ first.weight.T) @ second.weight.T)
    torch.testing.assert_close(model(images), hidden @ output.weight.T)


def test_num_parameters_counts_frozen_ones_too() -> None:
    model = _mlp([6, 5], batch_norm="before")
    model.layers[-1].requires_grad_(False)
    assert num_parameters(model) == (12 * 6 + 2 * 6) + (6 * 5 + 2 * 5) + (5 * 3 + 3)


def test_the_global_generator_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(_mlp().parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
