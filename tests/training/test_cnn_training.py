"""Convolutional networks in training: resumed to the bit, measured layer by layer, judged, and helped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.remedies import network, remedies
from pipeline.config.cnn import CnnConfig
from pipeline.config.model import HeadConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.models.cnn import Residual
from pipeline.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from pipeline.training.evaluation import predict_by_monte_carlo
from pipeline.training.start import start

DROPOUT = {"kind": "dropout", "rate": 0.4, "last_layers": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "residual": {"block": "residual", "pooling": "stride", "activation": "silu"},
    "after, dropped": {"batch_norm": "after", "channel_dropout": 0.1, "head": {"hidden_layers": 1, "dropout": DROPOUT}},
    "alpha": {"batch_norm": "none", "activation": "selu", "channel_dropout": 0.1, "head": {"dropout": DROPOUT}},
}


def _config(model: dict[str, Any], **settings: Any) -> TrialConfig:
    network = {"kind": "cnn", "stages": 2, "blocks": 1, "channels": 4, **model}
    plain = {"data": {"kind": "digits"}, "model": network, "optimizer": {"kind": "adamw", "lr": 0.02}, "batch_size": 32}
    return TrialConfig.model_validate({**plain, **settings})


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
def test_it_learns_and_resumes_to_the_bit(model: dict[str, Any], small_data: ImageData, tmp_path: Path) -> None:
    more: dict[str, Any] = {"ema_decay": 0.9, "max_norm": 1.5, "accumulation": 2, "clip": {"kind": "norm"}}
    config = _config(model, epochs=4, augment={"kind": "custom", "flip": True, "mixup": 0.2}, **more)
    training = start(config, small_data, measure_every=3)
    results = []
    for result in training.epochs:
        results.append(result)
        if result.epoch == 2:
            save_checkpoint(tmp_path / "2.pt", Checkpoint(config.to_dict(), results, training.state_dict()))
    assert results[-1].valid_accuracy > 0.4  # of 4 classes; few epochs, and half of the images mixed
    loaded = load_checkpoint(tmp_path / "2.pt", config.to_dict())
    assert loaded is not None
    resumed = start(config, small_data, measure_every=3, resume=loaded)
    after = list(resumed.epochs)
    assert [each.train_loss for each in after] == [each.train_loss for each in results[2:]]
    assert [each.gradient_flow for each in after] == [each.gradient_flow for each in results[2:]]
    expected = _state(training.model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
def test_gradient_flow_is_measured_convolution_by_convolution(batch_norm: str, small_data: ImageData) -> None:
    config = _config({"blocks": 2, "block": "residual", "batch_norm": batch_norm})
    training = start(config, small_data, measure_every=1)
    blocks = [module for module in training.model.modules() if isinstance(module, Residual)]
    sums: list[Tensor] = []  # what the activation after each shortcut is given

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sums.append(inputs[0])
        inputs[0].retain_grad()

    for block in blocks:
        block.end[0].register_forward_pre_hook(keep)
    training.step(torch.arange(32))
    layers = training.step.flow.collect()
    convolutions = [name for name, module in training.model.named_modules() if isinstance(module, nn.Conv2d)]
    output = next(name for name, module in training.model.named_modules() if isinstance(module, nn.Linear))
    assert [layer.module for layer in layers] == [*convolutions, output]
    assert all(layer.gradient > 0.0 and layer.weight_gradient > 0.0 for layer in layers)
    # The last convolution of a block has the activation of the sum, and not the shortcut that is computed beside it.
    last = [
        layer for layer in layers[:-1] if layer.module.split(".branch.")[-1] not in ("0",) and "branch" in layer.module
    ]
    assert len(last) == len(sums) == 4
    for layer, values in zip(last, sums, strict=True):
        assert values.grad is not None
        assert layer.gradient == pytest.approx(values.grad.norm().item(), rel=1e-5)
        assert layer.mean == pytest.approx(values.detach().relu().mean().item(), rel=1e-5)
        assert layer.dead is not None
    assert all(layer.dead is None for layer in layers if "shortcut" in layer.module)


def test_deep_sigmoid_convolutions_vanish_and_what_helps_is_found(small_data: ImageData) -> None:
    deep = {"stages": 1, "blocks": 10, "activation": "sigmoid", "batch_norm": "none", "channels": 6}
    diagnosis = diagnose(_config(deep), small_data, num_steps=10)
    assert diagnosis.verdict.label == "vanishing"
    assert diagnosis.network == (
        "sigmoid with Glorot's initialization, through 10 convolutions and a linear classifier"
    )
    healthy = [tried.remedy.settings for tried in diagnosis.tried if tried.verdict.label == "healthy"]
    assert {"model.batch_norm": "before"} in healthy
    assert {"model.block": "residual", "model.blocks": 5} in [tried.remedy.settings for tried in diagnosis.tried]


def test_a_residual_network_in_words() -> None:
    model = CnnConfig(block="residual", head=HeadConfig(hidden_layers=1, activation="selu", batch_norm="none"))
    assert network(model) == (
        "ReLU with He's initialization, batch normalization before it, through 12 convolutions, a shortcut around "
        "every 2, and a head of SELU with LeCun's initialization, through 1 hidden layer"
    )
    assert not [
        each for each in remedies(_config({"block": "residual"}), "vanishing") if "model.block" in each.settings
    ]


def test_monte_carlo_dropout_drops_channels(small_data: ImageData) -> None:
    training = start(_config({"channel_dropout": 0.3}, epochs=1), small_data)
    list(training.epochs)
    drawn = [
        predict_by_monte_carlo(training.model, small_data.valid, training.precision, samples=1, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
