"""The convolutional network: which layers in which order, and what they compute."""

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.cnn import CnnConfig
from pipeline.config.model import Dropout, HeadConfig
from pipeline.core.errors import ModelError
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.build import build_model, num_parameters
from pipeline.models.cnn import Cnn, Residual
from pipeline.models.dropout import has_dropout, only_dropout_trains
from pipeline.space.files import load_space

SHAPE = (2, 9, 6)


def _cnn(**settings: Any) -> Cnn:
    small = {"stages": 2, "blocks": 1, "channels": 4}
    if not isinstance(settings.get("channels", 0), int):
        del small["stages"]
    model = build_model(CnnConfig(**{**small, **settings}), image_shape=SHAPE, num_classes=3)
    assert isinstance(model, Cnn)
    return model


def _layers(model: nn.Module) -> list[nn.Module]:
    containers = (nn.Sequential, Residual)
    return [m for m in model.modules() if not isinstance(m, containers) and not list(m.children())]


def _names(model: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in _layers(model)]


@pytest.mark.parametrize(
    ("batch_norm", "block"),
    [
        ("none", ["Conv2d", "ReLU", "Dropout2d"]),
        ("before", ["Conv2d", "BatchNorm2d", "ReLU", "Dropout2d"]),
        ("after", ["Conv2d", "ReLU", "BatchNorm2d", "Dropout2d"]),
    ],
)
def test_order_of_a_plain_network(batch_norm: str, block: list[str]) -> None:
    model = _cnn(blocks=2, batch_norm=batch_norm, channel_dropout=0.1, input_batch_norm=True)
    stages = [*block, *block, "MaxPool2d", *block, *block]
    assert _names(model.body) == ["BatchNorm2d", *stages, "AdaptiveAvgPool2d"]
    assert _names(model.head) == ["Flatten", "Linear"]


@pytest.mark.parametrize(("pooling", "module"), [("max", "MaxPool2d"), ("average", "AvgPool2d"), ("stride", None)])
def test_what_halves_the_maps(pooling: str, module: str | None) -> None:
    model = _cnn(pooling=pooling, blocks=2)
    assert (module in _names(model.body)) == (module is not None)
    strides = [layer.stride for layer in _layers(model) if isinstance(layer, nn.Conv2d)]
    assert strides == [(1, 1), (1, 1), (2, 2) if module is None else (1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({"stages": 3, "channels": 4}, [4, 8, 16]),
        ({"stages": 3, "channels": 5, "channel_growth": 1.5}, [5, 8, 11]),
        ({"stages": 3, "channels": 4, "channel_growth": 1.0}, [4, 4, 4]),
        ({"channels": [3, 9]}, [3, 9]),
    ],
)
def test_channels_of_the_stages(settings: dict[str, Any], channels: list[int]) -> None:
    convolutions = [layer for layer in _layers(_cnn(**settings)) if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == channels
    assert [layer.in_channels for layer in convolutions] == [2, *channels[:-1]]


@pytest.mark.parametrize("block", ["plain", "residual"])
@pytest.mark.parametrize("pooling", ["max", "average", "stride"])
@pytest.mark.parametrize("global_pooling", ["average", "max", "none"])
def test_maps_features_and_kernels_are_as_the_settings_say(block: str, pooling: str, global_pooling: str) -> None:
    for kernel_size, channels in itertools.product((1, 2, 3, 4), (4, [4, 4])):
        settings = {"block": block, "pooling": pooling, "global_pooling": global_pooling, "kernel_size": kernel_size}
        config = CnnConfig.model_validate(
            {"blocks": 2, "channels": channels, **({"stages": 2} if channels == 4 else {}), **settings}
        )
        model = build_model(config, image_shape=SHAPE, num_classes=3)
        assert model(torch.randn(5, *SHAPE)).shape == (5, 3)
        assert isinstance(model, Cnn)
        maps = model.body[:2](torch.randn(5, *SHAPE))
        assert maps.shape[2:] == (config.map_size(SHAPE[1]), config.map_size(SHAPE[2]))
        assert model.body(torch.randn(5, *SHAPE)).flatten(1).shape == (5, config.num_features(*SHAPE[1:]))
        kernels = sum(tensor.numel() for tensor in model.parameters() if tensor.ndim == 4)
        assert kernels == config.num_kernel_weights(SHAPE[0])
        convolutions = [layer for layer in _layers(model) if isinstance(layer, nn.Conv2d)]
        assert config.num_layers == sum(layer.kernel_size == (kernel_size, kernel_size) for layer in convolutions) - (
            # the shortcut's, where it cannot be told by its size
            sum(isinstance(m, Residual) and not isinstance(m.shortcut, nn.Identity) for m in model.modules())
            if kernel_size == 1
            else 0
        )


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_a_residual_block_worked_by_hand(batch_norm: str, pooling: str) -> None:
    model = _cnn(block="residual", batch_norm=batch_norm, pooling=pooling, activation="tanh").eval()
    stage = model.body[1]
    block = stage[-1]
    assert isinstance(block, Residual)
    weights = [layer for layer in _layers(block) if isinstance(layer, nn.Conv2d)]
    shortcut, first, second = weights
    assert shortcut.kernel_size == (1, 1)

    def norm(values: Tensor, place: str) -> Tensor:  # statistics are those of a new network: mean 0, variance 1
        return values / (1.0 + 1e-5) ** 0.5 if batch_norm == place else values

    maps = torch.randn(3, 4, 8, 6)
    halved = nn.functional.max_pool2d(maps, 2) if pooling == "max" else maps
    stride = 2 if pooling == "stride" else 1
    hidden = norm(nn.functional.conv2d(halved, first.weight, first.bias, stride, 1), "before").tanh()
    hidden = norm(nn.functional.conv2d(norm(hidden, "after"), second.weight, second.bias, 1, 1), "before")
    expected = norm(
        (hidden + norm(nn.functional.conv2d(halved, shortcut.weight, stride=stride), "before")).tanh(), "after"
    )
    torch.testing.assert_close(stage(maps), expected)


def test_a_shortcut_is_nothing_where_the_shape_stays() -> None:
    model = _cnn(block="residual", channels=[2, 4], blocks=2)
    shortcuts = [module.shortcut for module in model.modules() if isinstance(module, Residual)]
    assert [isinstance(shortcut, nn.Identity) for shortcut in shortcuts] == [True, True, False, True]


def test_an_even_kernel_looks_further_right_and_down() -> None:
    model = _cnn(kernel_size=2, batch_norm="none", channels=[1], activation="leaky_relu").eval()
    convolution = next(layer for layer in _layers(model) if isinstance(layer, nn.Conv2d))
    image = torch.zeros(1, *SHAPE)
    image[0, 0, 4, 3] = 1.0
    seen = model.body[0][0][:2](image)[0, 0] - convolution.bias
    assert {tuple(place) for place in seen.nonzero().tolist()} == {(3, 2), (3, 3), (4, 2), (4, 3)}


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
@pytest.mark.parametrize("block", ["plain", "residual"])
def test_no_bias_where_normalization_would_subtract_it(batch_norm: str, block: str) -> None:
    for layer in _layers(_cnn(batch_norm=batch_norm, block=block)):
        if isinstance(layer, nn.Conv2d):
            is_shortcut = layer.kernel_size == (1, 1)  # the sum has the branch's
            assert (layer.bias is not None) == (batch_norm != "before" and not is_shortcut)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("block", ["plain", "residual"])
def test_every_activation_learns_in_every_layer(activation: str, block: str) -> None:
    model = _cnn(activation=activation, block=block, batch_norm="after")
    model(torch.randn(6, *SHAPE)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_settings_arrive() -> None:
    settings = {"elu_alpha": 2.0, "batch_norm_alpha": 0.3, "batch_norm_epsilon": 1e-3}
    layers = _layers(_cnn(activation="elu", **settings))
    assert {layer.alpha for layer in layers if isinstance(layer, nn.ELU)} == {2.0}
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.momentum, layer.eps) for layer in norms} == {(0.3, 1e-3)}
    leaky = _layers(_cnn(activation="leaky_relu", negative_slope=0.2))
    assert {layer.negative_slope for layer in leaky if isinstance(layer, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize(
    ("settings", "variance"),
    [
        ({}, 2 / (9 * 64)),
        ({"activation": "tanh"}, 2 / (9 * 64 + 9 * 96)),
        ({"activation": "selu"}, 1 / (9 * 64)),
        ({"activation": "leaky_relu", "negative_slope": 0.5}, 2 / (1.25 * 9 * 64)),
        ({"initialization": "torch"}, 1 / (3 * 9 * 64)),
        ({"initialization_gain": 3.0}, 9 / (9 * 64)),
    ],
)
def test_a_kernels_initialization_counts_all_that_it_sums(settings: dict[str, Any], variance: float) -> None:
    torch.manual_seed(0)
    convolutions = [layer for layer in _layers(_cnn(channels=[64, 96], **settings)) if isinstance(layer, nn.Conv2d)]
    assert convolutions[1].weight.var().item() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.Dropout2d), ("selu", nn.FeatureAlphaDropout)])
def test_a_channel_is_dropped_with_its_map(activation: str, kind: type[nn.Module]) -> None:
    layers = _layers(_cnn(activation=activation, channel_dropout=0.25))
    dropout = next(layer for layer in layers if isinstance(layer, kind))
    dropped = dropout(torch.randn(50, 40, 3, 3)).flatten(2)
    same = (dropped == dropped[..., :1]).all(2)  # one value for the whole map: zero, or SELU's limit
    assert same.float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_dropout_of_the_head_and_monte_carlo() -> None:
    head = HeadConfig(hidden_layers=1, width=8, dropout=Dropout(rate=0.5, last_layers=2))
    model, images = _cnn(head=head), torch.randn(4, *SHAPE)
    assert _names(model.head) == ["Flatten", "Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert has_dropout(model)
    assert has_dropout(_cnn(channel_dropout=0.1))
    assert not has_dropout(_cnn())
    with only_dropout_trains(model):
        norms = [norm for norm in _layers(model) if isinstance(norm, nn.BatchNorm2d)]
        before = [copy.deepcopy(norm.running_mean) for norm in norms]
        assert not torch.equal(model(images), model(images))
        torch.testing.assert_close([norm.running_mean for norm in norms], before, rtol=0.0, atol=0.0)
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(("pooling", "most"), [("max", 3), ("average", 3), ("stride", 4)])
def test_images_that_are_too_small_are_refused(pooling: str, most: int) -> None:
    """Of 6 pixels, pooling leaves 3 and 1; strides, which begin at the first pixel, 3, 2 and 1."""
    assert _cnn(stages=most, pooling=pooling)(torch.randn(2, *SHAPE)).shape == (2, 3)
    said = f"model.stages: .* images of 9 x 6 pixels have room for {most} stages; got {most + 1}. Lower it"
    with pytest.raises(ModelError, match=said):
        _cnn(stages=most + 1, pooling=pooling)


def test_num_parameters() -> None:
    kernels, norms, head = 2 * 4 * 9 + 4 * 8 * 9, 2 * (4 + 8), 8 * 3 + 3
    assert num_parameters(_cnn()) == kernels + norms + head


def test_kernels_lie_as_they_are_fast() -> None:
    model = _cnn(kernel_size=3)
    kernels = [parameter for parameter in model.parameters() if parameter.ndim == 4]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_the_small_networks_for_fashion_mnist_are_small() -> None:
    space = load_space("fashion_mnist_cnn_small").space
    paths = [f"model.{name}" for name in ("blocks", "channels", "kernel_size", "batch_norm")]
    sizes = {
        num_parameters(build_model(config.model, image_shape=(1, 28, 28), num_classes=10))
        for config in space.boundary_configs(paths)
    }
    assert 80_000 < max(sizes) < 100_000
