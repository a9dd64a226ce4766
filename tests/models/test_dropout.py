"""Dropout: both scalings are equal in expectation, and Monte Carlo dropout's mode is left again."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.config.data import Digits
from pipeline.config.model import Dropout, MlpConfig
from pipeline.config.trial import TrialConfig
from pipeline.models.build import build_model
from pipeline.models.dropout import TestScaledDropout, has_dropout, only_dropout_trains
from pipeline.models.mlp import Mlp

RATES = [0.1, 0.25, 0.5, 0.8]
NUM_MASKS = 40_000


def _outputs(dropout: nn.Module, inputs: Tensor, weight: Tensor) -> Tensor:
    """What a linear layer gives for an input under many masks, (masks, units)."""
    return dropout(inputs.expand(NUM_MASKS, -1)) @ weight.T


def _network(**settings: Any) -> nn.Module:
    return build_model(MlpConfig(hidden_layers=2, width=6, **settings), image_shape=(1, 4, 3), num_classes=3)


def _dropouts(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if "Dropout" in type(module).__name__]


@pytest.mark.parametrize("rate", RATES)
def test_in_training_a_value_is_kept_as_it_is_or_dropped(rate: float) -> None:
    values = torch.randn(1000)
    dropped = TestScaledDropout(rate)(values)
    kept = dropped != 0.0
    torch.testing.assert_close(dropped[kept], values[kept])
    assert kept.float().mean().item() == pytest.approx(1.0 - rate, abs=5 * (rate * (1.0 - rate) / 1000) ** 0.5)


@pytest.mark.parametrize("rate", RATES)
def test_at_evaluation_test_scaling_multiplies_and_inverted_dropout_does_nothing(rate: float) -> None:
    values = torch.randn(1000)
    torch.testing.assert_close(TestScaledDropout(rate).eval()(values), (1.0 - rate) * values)
    assert torch.equal(nn.Dropout(rate).eval()(values), values)


@pytest.mark.parametrize("rate", RATES)
def test_both_scalings_are_equal_in_expectation(rate: float) -> None:
    """Over masks, a linear layer gets on average what it gets at evaluation; five standard errors are allowed."""
    inputs, weight = torch.randn(20), torch.randn(3, 20)
    for dropout, factor in ((TestScaledDropout(rate), 1.0 - rate), (nn.Dropout(rate), 1.0)):
        outputs = _outputs(dropout, inputs, weight)
        expected = weight @ dropout.eval()(inputs)
        torch.testing.assert_close(expected, factor * (weight @ inputs), rtol=1e-4, atol=1e-5)
        error = outputs.std(0) / NUM_MASKS**0.5
        assert ((outputs.mean(0) - expected).abs() < 5.0 * error).all()
        assert (error < 0.1).all()


def test_the_gradient_passes_where_a_value_is_kept() -> None:
    values = torch.ones(1000, requires_grad=True)
    dropped = TestScaledDropout(0.3)(values)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach())


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout, TestScaledDropout])
def test_has_dropout(kind: type[nn.Module]) -> None:
    assert has_dropout(nn.Sequential(nn.Linear(2, 2), nn.Sequential(kind(0.1))))
    assert not has_dropout(nn.Sequential(nn.Linear(2, 2), kind(0.0)))
    assert not has_dropout(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


@pytest.mark.parametrize("kind", [nn.Dropout, nn.AlphaDropout, TestScaledDropout])
def test_only_dropout_trains(kind: type[nn.Module]) -> None:
    upper, lower = kind(0.5), kind(0.1)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), upper, nn.Sequential(lower, nn.ReLU()))
    with only_dropout_trains(model):
        assert [module for module in model.modules() if module.training] == [upper, lower]
    assert not any(module.training for module in model.modules())


def test_evaluation_mode_comes_back_after_an_exception() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2)).train()
    with pytest.raises(KeyError), only_dropout_trains(model):
        raise KeyError
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("activation", "settings", "kind"),
    [
        ("relu", {"scaling": "test"}, TestScaledDropout),
        ("relu", {"scaling": "train"}, nn.Dropout),
        ("relu", {}, nn.Dropout),
        ("selu", {"scaling": "test", "variant": "standard"}, TestScaledDropout),
        ("selu", {}, nn.AlphaDropout),
    ],
)
def test_the_configuration_decides_the_scaling(
    activation: str, settings: dict[str, Any], kind: type[nn.Module]
) -> None:
    dropout = Dropout(rate=0.3, last_layers=2, input_rate=0.1, **settings)
    found = _dropouts(_network(activation=activation, dropout=dropout))
    assert [(type(module), getattr(module, "p", None)) for module in found] == [(kind, 0.1), (kind, 0.3), (kind, 0.3)]


def test_a_test_scaled_network_at_evaluation_has_its_outgoing_weights_scaled() -> None:
    model = _network(batch_norm="none", dropout=Dropout(rate=0.3, last_layers=1, scaling="test")).eval()
    images = torch.randn(8, 1, 4, 3)
    assert isinstance(model, Mlp)
    hidden, output = model.layers[:-2](images), model.layers[-1]
    assert isinstance(output, nn.Linear)
    torch.testing.assert_close(model(images), hidden @ (0.7 * output.weight).T)


@pytest.mark.parametrize(("activation", "variant"), [("selu", "auto"), ("selu", "alpha")])
def test_alpha_dropout_with_test_scaling_is_refused(activation: str, variant: str) -> None:
    model = MlpConfig.model_validate(
        {"activation": activation, "dropout": {"kind": "dropout", "variant": variant, "scaling": "test"}}
    )
    with pytest.raises(ValidationError, match=r"model\.dropout\.scaling: test-time scaling is a way of standard"):
        TrialConfig(data=Digits(), model=model)


@pytest.mark.parametrize(("activation", "variant"), [("relu", "auto"), ("selu", "standard")])
def test_standard_dropout_with_test_scaling_is_accepted(activation: str, variant: str) -> None:
    model = MlpConfig.model_validate(
        {"activation": activation, "dropout": {"kind": "dropout", "variant": variant, "scaling": "test"}}
    )
    assert TrialConfig(data=Digits(), model=model).model == model
