from pathlib import Path

import pytest
import torch

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import PluginError, SpaceError
from pipeline.data.loading import load_data
from pipeline.models.build import build_model, num_parameters
from pipeline.plugins.loading import load_plugins
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.training.start import start

SHAPE = (1, 8, 8)


def _config(**model: object) -> TrialConfig:
    return TrialConfig.model_validate(
        {"data": {"kind": "digits"}, "model": {"kind": "small_conv", **model}, "epochs": 1}
    )


def _messages(text: str) -> list[str]:
    with pytest.raises(SpaceError) as error:
        read_space(parse(text, "f.yaml"), "f")
    return str(error.value).splitlines()


@pytest.mark.usefixtures("small_conv")
def test_its_settings_are_searched_and_checked_as_any() -> None:
    space = """space:
  data: {kind: digits}
  model: {kind: small_conv, filters: {int: [4, 16]}, kernel: {choice: [3, 5]}}
"""
    file = read_space(parse(space, "f.yaml"), "f")
    assert [parameter.name for parameter in file.space.parameters()] == ["model.filters", "model.kernel"]
    assert _messages(space.replace("[4, 16]", "[0, 16]")) == [
        "f.yaml:3: model.filters: must be greater than or equal to 1; got 0"
    ]
    assert _messages(space.replace("kernel", "kernels")) == [
        "f.yaml:3: model.kernels: unknown setting. Did you mean kernel?"
    ]
    assert _messages(space.replace("small_conv", "smal_conv"))[0].endswith("Did you mean small_conv?")


def test_without_the_plugin_the_message_says_that_it_may_be_one() -> None:
    (said,) = _messages("space: {data: {kind: digits}, model: {kind: other}}")
    assert said.endswith("got 'other'. If a plug-in adds it, give that with --plugin")


@pytest.mark.usefixtures("small_conv")
def test_it_is_built_initialized_by_the_seed_and_trained_with_gradient_flow() -> None:
    torch.manual_seed(3)
    network = build_model(_config(filters=4).model, image_shape=SHAPE, num_classes=10)
    after = torch.rand(1)
    torch.manual_seed(3)
    again = build_model(_config(filters=4).model, image_shape=SHAPE, num_classes=10)
    assert torch.equal(after, torch.rand(1))
    assert num_parameters(network) == (9 + 1) * 4 + (4 * 9 + 1) * 8 + (8 * 4 + 1) * 10
    assert network.training
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    config = _config(filters=4)
    training = start(config, load_data(config.data), measure_every=1)
    (epoch,) = training.epochs
    assert epoch.gradient_flow is not None
    assert len(epoch.gradient_flow) == 3


BROKEN = {
    "return None": "must return a torch Module; got None. Return what docs/plugins.md says of a model",
    "return nn.Flatten()": "must return logits of shape (batch, 10); got (2, 64) for a batch of 2 images of shape",
    "return nn.Identity(block.nothing)": ":{line}: AttributeError: 'SmallConv' object has no attribute 'nothing'",
    "return nn.Linear(5, num_outputs)": "cannot take images: RuntimeError: mat1 and mat2 shapes cannot be",
}


@pytest.mark.parametrize("body", BROKEN)
def test_what_a_builder_must_not_do_is_said_with_its_line(body: str, tmp_path: Path) -> None:
    source = (Path(__file__).with_name("small_conv.py")).read_text()
    head, define, _ = source.partition("def build_small_conv")
    file = tmp_path / "broken.py"
    file.write_text(f"{head}{define}(block, input_shape, num_outputs):\n    {body}\n")
    load_plugins([file])
    with pytest.raises(PluginError) as refused:
        build_model(_config().model, image_shape=SHAPE, num_classes=10)
    line = len(head.splitlines()) + 2
    assert BROKEN[body].replace("{line}", str(line)) in str(refused.value)
    assert "model small_conv" in str(refused.value)
