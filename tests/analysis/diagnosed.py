"""Networks of which gradients vanish, explode, or do neither."""

from typing import Any

import pytest

from pipeline.config.trial import TrialConfig
from pipeline.records.results import VerdictLabel

WORDS: list[VerdictLabel] = ["vanishing", "exploding", "dead", "diverged"]
SIGMOID = {"hidden_layers": 12, "width": 20, "activation": "sigmoid", "batch_norm": "none"}
# Each layer's variance is 4.5 times that of the one before.
GROWING = {"hidden_layers": 20, "width": 20, "initialization": "he", "initialization_gain": 3.0, "batch_norm": "none"}
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "deep sigmoid": SIGMOID,
    "growing": GROWING,
    "sigmoid with batch norm": {**SIGMOID, "batch_norm": "before"},
    "tanh from PyTorch": {"hidden_layers": 9, "activation": "tanh", "initialization": "torch"},
    # these break a rule with SELU, or with anything but SELU
    "sigmoid with scaling": {**SIGMOID, "dropout": {"kind": "dropout", "scaling": "test"}},
    "selu with alpha": {
        "activation": "selu",
        "initialization": "he",
        "dropout": {"kind": "dropout", "variant": "alpha"},
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "one image a batch": {"batch_size": 1, "model": SIGMOID},
    "clipped": {"clip": {"kind": "value", "threshold": 0.5}, "optimizer": {"kind": "sgd", "lr": 1e-4}},
}


def make(**settings: Any) -> TrialConfig:
    return TrialConfig.model_validate({"data": {"kind": "digits"}, **settings})


CONFIGS = {name: make(model=model) for name, model in MODELS.items()} | {
    name: make(**settings) for name, settings in SETTINGS.items()
}
EVERY_CONFIG = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
EVERY_WORD = pytest.mark.parametrize("word", WORDS)
