"""What can be done about each verdict: settings to change, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.config.cnn import CnnConfig
from pipeline.config.model import (
    BackboneConfig,
    HiddenLayers,
    LayerSettings,
    ModelBlock,
    lowest_layers,
    resolve_initialization,
    top_layers,
)
from pipeline.config.trial import TrialConfig
from pipeline.records.results import VerdictLabel
from pipeline.space.tree import flatten

NAMES = {"he": "He's", "glorot": "Glorot's", "lecun": "LeCun's", "torch": "PyTorch's"}


@dataclass(frozen=True)
class Remedy:
    """A change of a configuration.

    Attributes:
        settings: From paths to plain values, for `TrialConfig.replaced`.
        reason: What it does.
    """

    settings: dict[str, Any]
    reason: str


def network(model: ModelBlock) -> str:
    """Returns a network in words: what decides how gradients pass through it."""
    if isinstance(model, HiddenLayers):
        return _passes(model, "hidden layer")
    head = "" if (layers := top_layers(model)) is None else f" and {_head(layers)}"
    if isinstance(model, CnnConfig):
        shortcuts = f", a shortcut around every {model.block_layers}," if model.block == "residual" else ""
        return f"{_passes(model, 'convolution')}{shortcuts}{head}"
    if isinstance(model, BackboneConfig):
        weights = "random" if model.pretrained is False else "pretrained"
        return f"{model.name} with {weights} weights{head}"
    return f"a network of kind {model.kind}{head}"


def _head(layers: HiddenLayers) -> str:
    return "a linear classifier" if layers.num_layers == 0 else f"a head of {_passes(layers, 'hidden layer')}"


def _passes(layers: LayerSettings, layer: str) -> str:
    activation = {"relu": "ReLU", "selu": "SELU", "elu": "ELU"}.get(layers.activation, layers.activation)
    gain = "" if layers.initialization_gain is None else f" (gain {layers.initialization_gain:g})"
    initialization = f"{NAMES[layers.resolved_initialization]} initialization{gain}"
    norm = "" if layers.batch_norm == "none" else f", batch normalization {layers.batch_norm} it"
    plural = "" if layers.num_layers == 1 else "s"
    return f"{activation} with {initialization}{norm}, through {layers.num_layers} {layer}{plural}"


def remedies(config: TrialConfig, label: VerdictLabel) -> list[Remedy]:
    """Returns what can be done about a verdict, the likeliest first; nothing where the network is healthy.

    Only changes that keep to the rules of a configuration are returned, and of each what it really changes.
    """
    current = flatten(config.to_dict())
    found = [
        Remedy({path: value for path, value in each.settings.items() if current.get(path) != value}, each.reason)
        for each in REMEDIES[label](config)
    ]
    return [remedy for remedy in found if remedy.settings and _is_allowed(config, remedy)]


def _vanishing(config: TrialConfig) -> Iterator[Remedy]:
    yield from _suited_initialization(config, "it keeps the variance from layer to layer")
    for path, layers in _deep_layers(config):
        if layers.activation in ("sigmoid", "tanh"):
            yield Remedy(
                {f"{path}.activation": "selu", **_suited(path), f"{path}.batch_norm": "none"},
                "its slope for positive inputs is just above 1, and it normalizes itself",
            )
    yield from _batch_norm(config, "it brings each layer's inputs back to variance 1")
    model = config.model
    if isinstance(model, CnnConfig) and model.block == "plain" and model.blocks > 1:
        blocks = {"model.block": "residual", "model.blocks": model.blocks // 2}
        yield Remedy(blocks, "its shortcuts pass the gradient on")
    for path, layers in _deep_layers(config):
        if isinstance(layers, HiddenLayers) and layers.hidden_layers > 5:
            widths = {} if isinstance(layers.width, int) else {f"{path}.width": list(layers.width[:5])}
            yield Remedy({f"{path}.hidden_layers": 5, **widths}, "fewer layers multiply fewer slopes")


def _exploding(config: TrialConfig) -> Iterator[Remedy]:
    yield from _suited_initialization(config, "it keeps the variance from layer to layer")
    yield from _batch_norm(config, "it brings each layer's inputs back to variance 1")
    if config.clip.kind == "none":
        yield Remedy({"clip": {"kind": "norm", "threshold": 1.0}}, "it bounds the step, though not the ratio of layers")


def _dead(config: TrialConfig) -> Iterator[Remedy]:
    yield from _suited_initialization(config, "it keeps half of the units active")
    yield _lower_rate(config, 10, "smaller steps do not push units out of the range of the data")
    for path, _ in _deep_layers(config):
        leaky = {f"{path}.activation": "leaky_relu", **_suited(path)}
        yield Remedy(leaky, "it passes gradient for negative inputs, too")
    yield from _batch_norm(config, "every unit is positive for about half of each batch")


def _diverged(config: TrialConfig) -> Iterator[Remedy]:
    yield _lower_rate(config, 10, "dnntune lr-find shows where the loss begins to rise")
    if config.clip.kind == "none":
        yield Remedy({"clip": {"kind": "norm", "threshold": 1.0}}, "it bounds the step")
    yield from _suited_initialization(config, "it keeps the variance from layer to layer")


REMEDIES = {
    "healthy": lambda config: iter(()),
    "vanishing": _vanishing,
    "exploding": _exploding,
    "dead": _dead,
    "diverged": _diverged,
}


def _suited(path: str) -> dict[str, Any]:
    return {f"{path}.initialization": "auto", f"{path}.initialization_gain": None}


def _suited_initialization(config: TrialConfig, reason: str) -> Iterator[Remedy]:
    for path, layers in _deep_layers(config):
        suited = resolve_initialization("auto", layers.activation)
        if layers.resolved_initialization != suited or layers.initialization_gain is not None:
            yield Remedy(_suited(path), f"{NAMES[suited]} initialization suits {layers.activation}: {reason}")


def _batch_norm(config: TrialConfig, reason: str) -> Iterator[Remedy]:
    for path, layers in _deep_layers(config):
        if layers.batch_norm == "none":
            yield Remedy({f"{path}.batch_norm": "before"}, reason)


def _deep_layers(config: TrialConfig) -> Iterator[tuple[str, LayerSettings]]:
    """Yields the lowest layers of a network, and where they stand, if there are any hidden ones."""
    lowest = lowest_layers(config.model)
    if lowest is not None and lowest[1].num_layers > 0:
        yield lowest


def _lower_rate(config: TrialConfig, by: int, reason: str) -> Remedy:
    return Remedy({"optimizer.lr": float(f"{config.optimizer.lr / by:.3g}")}, reason)


def _is_allowed(config: TrialConfig, remedy: Remedy) -> bool:
    try:
        config.replaced(remedy.settings)
    except ValueError:
        return False
    return True
