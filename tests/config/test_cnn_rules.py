"""Rules of convolutional networks: what would have no effect is refused, with line, rule, value and remedy."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.cnn import CnnConfig
from pipeline.config.data import Digits
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import SpaceError
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import parse


def _read(settings: str, more: str = "") -> SpaceFile:
    model = f"model: {{kind: cnn, {settings}}}"
    return read_space(parse(f"space:\n  data: {{kind: digits}}\n  {model}\n{more}", "f.yaml"), "f")


def _model(settings: str) -> CnnConfig:
    (config,) = _read(settings).space.boundary_configs([])
    assert isinstance(config.model, CnnConfig)
    return config.model


STAGES = "has no effect here: set model.stages: 2 (or more)"
REFUSED = {
    "pooling: average, stages: 1": f"pooling: {STAGES}, or leave it out",
    "channel_growth: 1.5, stages: 1": f"channel_growth: {STAGES}, and model.channels to one number, or leave it out",
    "channel_growth: 1.5, channels: [8, 16]": f"channel_growth: {STAGES}, and model.channels to one number",
    "channels: [8, 16], stages: 3": "channels: a list of channels has one number for each stage; got 2 numbers for 3 "
    "stages. Leave stages out: it follows from the list",
    "elu_alpha: 2.0": "elu_alpha: has no effect here: set model.activation: elu",
    "negative_slope: 0.2": "negative_slope: has no effect here: set model.activation: leaky_relu",
    "batch_norm: none, batch_norm_alpha: 0.2": "batch_norm_alpha: has no effect here: set model.batch_norm: before",
    "initialization: torch, initialization_gain: 2.0": "initialization_gain: has no effect here: set model.init",
    "head: {width: 30}": "head.width: has no effect here: set model.head.hidden_layers: 1",
    "head: {hidden_layers: 2, width: [30]}": "head.width: a list of widths has one number for each hidden layer",
    "head: {dropout: {kind: dropout, variant: alpha}}": "head.dropout.variant: alpha dropout keeps SELU's mean",
    "stages: 0": "stages: must be greater than or equal to 1; got 0",
    "channels: []": "channels: ",
    "kernel_size: {int: [0, 3]}": "kernel_size: must be greater than or equal to 1; got 0",
    "block: dense": "block: must be one of plain, residual; got 'dense'",
    "pooling: maximum": "pooling: must be one of max, average, stride; got 'maximum'. Did you mean max?",
    "width: 30": "width: unknown setting of this kind. It belongs to kind: mlp; there is model.head.width",
}


@pytest.mark.parametrize("settings", REFUSED)
def test_mistakes_have_their_line_rule_value_and_remedy(settings: str) -> None:
    with pytest.raises(SpaceError) as caught:
        _read(settings)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"f.yaml:3: model.{REFUSED[settings]}")


@pytest.mark.parametrize(
    "settings",
    [
        "pooling: average, stages: {int: [1, 2]}",
        "channel_growth: 1.5, channels: {choice: [8, [8, 16]]}",
        "elu_alpha: 2.0, activation: {choice: [relu, elu]}",
        "block: {choice: [plain, residual]}, blocks: {int: [1, 3]}, kernel_size: {int: [2, 5]}",
        "head: {hidden_layers: {int: [0, 2]}, width: {int: [16, 64], log: true}, activation: selu}",
        "channel_dropout: {float: [0.0, 0.3]}, head: {dropout: {choice: [none, {kind: dropout, rate: 0.5}]}}",
    ],
)
def test_what_some_draw_uses_is_accepted(settings: str) -> None:
    assert _read(settings).space.parameters()


def test_a_list_of_channels_says_how_many_stages() -> None:
    assert _model("channels: [8, 16]").stages == 2
    assert _model("channels: [8, 16]").stage_channels == (8, 16)
    assert _model("channels: 8, stages: 4").stage_channels == (8, 16, 32, 64)


def test_normalization_of_convolutions_needs_a_batch_too() -> None:
    for settings in ("", "batch_norm: none, head: {hidden_layers: 1}"):
        with pytest.raises(SpaceError, match="batch normalization needs at least 2 images in a batch; got 1"):
            _read(settings, "  batch_size: 1")
    assert _read("batch_norm: none", "  batch_size: 1").space.num_configurations() == 1


def test_transfer_is_not_for_it() -> None:
    plain: dict[str, Any] = {
        "data": Digits(),
        "model": {"kind": "cnn"},
        "transfer": {"kind": "frozen"},
    }
    with pytest.raises(ValidationError, match=r"frozen is about a backbone's layers, and model.kind is cnn"):
        TrialConfig.model_validate(plain)


def test_perceptrons_and_convolutions_in_one_space() -> None:
    text = """space:
  data: {kind: digits}
  model:
    choice:
      - {kind: mlp, width: {int: [10, 30]}, activation: {choice: [relu, selu]}}
      - {kind: cnn, channels: {int: [4, 8]}, activation: {choice: [relu, elu]}, elu_alpha: 2.0}
"""
    space = read_space(parse(text, "f.yaml"), "f").space
    assert [parameter.name for parameter in space.parameters()] == [
        "model.kind",
        "model.mlp.width",
        "model.mlp.activation",
        "model.cnn.channels",
        "model.cnn.activation",
    ]
