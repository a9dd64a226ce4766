import math
from pathlib import Path

import pytest
import torch

from pipeline.config.metrics import direction
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import PluginError, SpaceError
from pipeline.data.loading import load_data
from pipeline.models.build import build_model, num_parameters
from pipeline.optim.losses import build_loss
from pipeline.plugins.loading import load_plugins
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.training.metrics import build_meters, measured
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
    head, define, _ = source.partition("def small_conv")
    file = tmp_path / "broken.py"
    file.write_text(f"{head}{define}(block, input_shape, num_outputs):\n    {body}\n")
    load_plugins([file])
    with pytest.raises(PluginError) as refused:
        build_model(_config().model, image_shape=SHAPE, num_classes=10)
    line = len(head.splitlines()) + 2
    assert BROKEN[body].replace("{line}", str(line)) in str(refused.value)
    assert "model small_conv" in str(refused.value)


@pytest.mark.usefixtures("small_conv")
def test_its_metric_is_measured_and_its_loss_is_the_papers() -> None:
    probabilities, labels = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([0, 1, 1])
    meters = build_meters(["valid_specificity"], ["a", "b"], torch.device("cpu"))
    assert measured(meters, probabilities, labels) == {"valid_specificity": pytest.approx((1 / 2 + 1) / 2)}
    assert direction("valid_specificity") == "maximize"
    config = TrialConfig.model_validate({"data": {"kind": "digits"}, "loss": {"kind": "own_focal", "gamma": 2.0}})
    loss = build_loss(config.loss, torch.tensor([1, 2]))
    found = loss(probabilities.log(), labels)
    expected = -(0.1**2 * math.log(0.9) + 0.8**2 * math.log(0.2) + 0.3**2 * math.log(0.7)) / 3
    assert float(found) == pytest.approx(expected)


def test_a_metric_must_have_the_interface_of_torchmetrics(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    head = "from pipeline.plugins.contract import metric\n@metric({name!r}, direction='maximize', description='x')\n"
    file.write_text(head.format(name="valid_x") + "def build(class_names): return 3\n")
    load_plugins([file])
    with pytest.raises(PluginError, match=r"valid_x: its builder must return what has .*; int has no update, compute"):
        build_meters(["valid_x"], ["a", "b"], torch.device("cpu"))
    file.write_text(head.format(name="x") + "def build(class_names): return 3\n")
    with pytest.raises(PluginError, match=r"bad.py:2: a metric's name must begin with valid_"):
        load_plugins([file])
