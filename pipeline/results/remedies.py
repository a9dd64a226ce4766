"""What can be done about each verdict: settings to change, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.config import MlpConfig, TrialConfig, resolve_initialization
from pipeline.records import VerdictWord
from pipeline.space import flatten

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


def network(model: MlpConfig) -> str:
    """Returns a network in words: what decides how gradients pass through it."""
    activation = {"relu": "ReLU", "selu": "SELU", "elu": "ELU"}.get(model.activation, model.activation)
    gain = "" if model.initialization_gain is None else f" (gain {model.initialization_gain:g})"
    initialization = f"{NAMES[model.resolved_initialization]} initialization{gain}"
    norm = "" if model.batch_norm == "none" else f", batch normalization {model.batch_norm} it"
    plural = "" if model.hidden_layers == 1 else "s"
    return f"{activation} with {initialization}{norm}, through {model.hidden_layers} hidden layer{plural}"


def remedies(config: TrialConfig, word: VerdictWord) -> list[Remedy]:
    """Returns what can be done about a verdict, the likeliest first; nothing where the network is healthy.

    Only changes that keep to the rules of a configuration are returned, and of each what it really changes.
    """
    present = flatten(config.plain())
    found = [
        Remedy({path: value for path, value in each.settings.items() if present.get(path) != value}, each.reason)
        for each in REMEDIES[word](config)
    ]
    return [remedy for remedy in found if remedy.settings and _is_allowed(config, remedy)]


def _vanishing(config: TrialConfig) -> Iterator[Remedy]:
    model = config.model
    yield from _suited_initialization(model, "it keeps the variance from layer to layer")
    if model.activation in ("sigmoid", "tanh"):
        yield Remedy(
            {"model.activation": "selu", **SUITED, "model.batch_norm": "none"},
            "its slope for positive inputs is just above 1, and it normalizes itself",
        )
    if model.batch_norm == "none":
        yield Remedy({"model.batch_norm": "before"}, "it brings each layer's inputs back to variance 1")
    if model.hidden_layers > 5:
        yield Remedy({"model.hidden_layers": 5, **_widths(model, 5)}, "fewer layers multiply fewer slopes")


def _exploding(config: TrialConfig) -> Iterator[Remedy]:
    model = config.model
    yield from _suited_initialization(model, "it keeps the variance from layer to layer")
    if model.batch_norm == "none":
        yield Remedy({"model.batch_norm": "before"}, "it brings each layer's inputs back to variance 1")
    if config.clip.kind == "none":
        yield Remedy({"clip": {"kind": "norm", "threshold": 1.0}}, "it bounds the step, though not the ratio of layers")


def _dead(config: TrialConfig) -> Iterator[Remedy]:
    yield from _suited_initialization(config.model, "it keeps half of the units active")
    yield _lower_rate(config, 10, "smaller steps do not push units out of the range of the data")
    yield Remedy({"model.activation": "leaky_relu", **SUITED}, "it passes gradient for negative inputs, too")
    if config.model.batch_norm == "none":
        yield Remedy({"model.batch_norm": "before"}, "every unit is positive for about half of each batch")


def _diverged(config: TrialConfig) -> Iterator[Remedy]:
    yield _lower_rate(config, 10, "dnntune lr-find shows where the loss begins to rise")
    if config.clip.kind == "none":
        yield Remedy({"clip": {"kind": "norm", "threshold": 1.0}}, "it bounds the step")
    yield from _suited_initialization(config.model, "it keeps the variance from layer to layer")


REMEDIES = {
    "healthy": lambda config: iter(()),
    "vanishing": _vanishing,
    "exploding": _exploding,
    "dead": _dead,
    "diverged": _diverged,
}
SUITED = {"model.initialization": "auto", "model.initialization_gain": None}


def _suited_initialization(model: MlpConfig, reason: str) -> Iterator[Remedy]:
    suited = resolve_initialization("auto", model.activation)
    if model.resolved_initialization != suited or model.initialization_gain is not None:
        yield Remedy(SUITED, f"{NAMES[suited]} initialization suits {model.activation}: {reason}")


def _lower_rate(config: TrialConfig, by: int, reason: str) -> Remedy:
    return Remedy({"optimizer.lr": float(f"{config.optimizer.lr / by:.3g}")}, reason)


def _widths(model: MlpConfig, layers: int) -> dict[str, Any]:
    return {} if isinstance(model.width, int) else {"model.width": list(model.width[:layers])}


def _is_allowed(config: TrialConfig, remedy: Remedy) -> bool:
    try:
        config.replaced(remedy.settings)
    except ValueError:
        return False
    return True
