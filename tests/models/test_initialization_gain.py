"""The gain of an initialization: what it makes of the weights, and where it may be set."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.model import MlpConfig
from pipeline.core.errors import SpaceError
from pipeline.models.build import build_model
from pipeline.models.initialization import initialize
from pipeline.space.files import SpaceFile, load_configuration, load_space
from pipeline.space.overrides import Override

IN, OUT = 1500, 500
FANS = {"he": IN, "glorot": (IN + OUT) / 2, "lecun": IN}
SPACE = """
space:
  data: {kind: digits}
  model: {initialization: %s, initialization_gain: %s}
"""


def _weight(name: str, gain: float | None, *, activation: str = "relu", negative_slope: float = 0.0) -> Tensor:
    layer = nn.Linear(IN, OUT)
    torch.manual_seed(0)
    initialize(layer, name, activation=activation, negative_slope=negative_slope, gain=gain)
    return layer.weight.detach()


def _filled(fill: Callable[[Tensor], object]) -> Tensor:
    weight = torch.empty(OUT, IN)
    torch.manual_seed(0)
    fill(weight)
    return weight


def _load(tmp_path: Path, initialization: str, gain: str) -> SpaceFile:
    file = tmp_path / "gain.yaml"
    file.write_text(SPACE % (initialization, gain))
    return load_space(str(file))


@pytest.mark.parametrize("name", FANS)
@pytest.mark.parametrize("gain", [0.1, 1.0, 3.0])
def test_the_standard_deviation_is_the_gain_over_the_root_of_the_fan(name: str, gain: float) -> None:
    assert _weight(name, gain).std().item() == pytest.approx(gain / math.sqrt(FANS[name]), rel=0.01)


@pytest.mark.parametrize("name", FANS)
def test_the_gain_does_nothing_but_scale(name: str) -> None:
    torch.testing.assert_close(_weight(name, 3.0), 3.0 * _weight(name, 1.0))


def test_he_with_a_gain_does_not_look_at_the_slope() -> None:
    assert torch.equal(_weight("he", 2.0, negative_slope=0.5), _weight("he", 2.0))


def test_without_a_gain_the_numbers_are_torchs() -> None:
    for slope in (0.0, 0.3):
        he = _filled(partial(nn.init.kaiming_normal_, a=slope, nonlinearity="leaky_relu"))
        torch.testing.assert_close(_weight("he", None, negative_slope=slope), he)
    relu = _filled(lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))
    torch.testing.assert_close(_weight("he", None), relu)
    torch.testing.assert_close(_weight("glorot", None), _filled(nn.init.xavier_normal_))
    lecun = _filled(lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"))
    torch.testing.assert_close(_weight("lecun", None), lecun)


@pytest.mark.parametrize(("name", "own"), [("he", math.sqrt(2.0)), ("glorot", 1.0), ("lecun", 1.0)])
def test_without_a_gain_it_is_the_schemes_own(name: str, own: float) -> None:
    torch.testing.assert_close(_weight(name, None), _weight(name, own))


@pytest.mark.parametrize(("activation", "name"), [("relu", "he"), ("tanh", "glorot"), ("selu", "lecun")])
def test_auto_passes_the_gain_on(activation: str, name: str) -> None:
    assert torch.equal(_weight("auto", 2.0, activation=activation), _weight(name, 2.0))


def test_the_configurations_gain_is_for_the_hidden_layers_only() -> None:
    def weights(gain: float | None) -> list[Tensor]:
        torch.manual_seed(0)
        config = MlpConfig(hidden_layers=2, width=20, initialization="lecun", initialization_gain=gain)
        model = build_model(config, image_shape=(1, 5, 5), num_classes=3)
        return [module.weight.detach() for module in model.modules() if isinstance(module, nn.Linear)]

    for plain, scaled, factor in zip(weights(None), weights(3.0), (3.0, 3.0, 1.0), strict=True):
        torch.testing.assert_close(scaled, factor * plain)


@pytest.mark.parametrize("gain", ["2.0", "{float: [0.5, 2.0]}"])
def test_a_gain_for_torchs_initialization_is_refused(gain: str, tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as caught:
        _load(tmp_path, "torch", gain)
    (problem,) = caught.value.problems
    assert "model.initialization_gain" in str(problem)
    assert "set model.initialization: he (or glorot, lecun)" in str(problem)


def test_a_gain_for_torchs_initialization_is_refused_in_a_configuration() -> None:
    settings = ("model.initialization=torch", "model.initialization_gain=2.0")
    with pytest.raises(SpaceError, match=r"model\.initialization_gain"):
        load_configuration("lecture_deep", [Override.parse(setting) for setting in settings])


@pytest.mark.parametrize("initialization", ["he", "glorot", "lecun", "auto", "{choice: [torch, he]}"])
def test_a_gain_is_accepted_where_it_may_be_used(initialization: str, tmp_path: Path) -> None:
    assert _load(tmp_path, initialization, "{float: [0.5, 2.0]}").name == "gain"
