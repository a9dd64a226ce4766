"""What each technique of a configuration brings: it is switched off, alone, over seeds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.cnn import CnnConfig
from pipeline.config.loss import CrossEntropy
from pipeline.config.model import BackboneConfig, HiddenLayers, LayerSettings, ModelBlock, layers_by_path
from pipeline.config.trial import TrialConfig
from pipeline.evaluation.intervals import SHARE, Interval, mean_interval
from pipeline.records.results import TrialResult

FULL = "full"
Settings = dict[str, Any]
# From what a row is called to the settings that switch the technique off; None where the configuration has it not.
TECHNIQUES: dict[str, Callable[[TrialConfig], Settings | None]] = {
    "pretrained: false": lambda c: _unless(
        not isinstance(c.model, BackboneConfig) or c.model.pretrained is False,
        {"model.pretrained": False, "transfer": {"kind": "none"}},
    ),
    "transfer: frozen": lambda c: _unless(c.transfer.kind in ("none", "frozen"), {"transfer": {"kind": "frozen"}}),
    "augment: none": lambda c: _unless(c.augment.kind == "none", {"augment": {"kind": "none"}}),
    "loss: cross_entropy": lambda c: _unless(
        isinstance(c.loss, CrossEntropy), {"loss": {"kind": "cross_entropy", "class_weights": c.loss.class_weights}}
    ),
    "loss.label_smoothing: 0": lambda c: _unless(
        not isinstance(c.loss, CrossEntropy) or c.loss.label_smoothing == 0.0, {"loss.label_smoothing": 0.0}
    ),
    "loss.class_weights: none": lambda c: _unless(c.loss.class_weights == "none", {"loss.class_weights": "none"}),
    "ema_decay: none": lambda c: _unless(c.ema_decay is None, {"ema_decay": None}),
    "schedule: constant": lambda c: _unless(c.schedule.kind == "constant", {"schedule": {"kind": "constant"}}),
    "clip: none": lambda c: _unless(c.clip.kind == "none", {"clip": {"kind": "none"}}),
    "batch_norm: none": lambda c: _of_layers(
        c, lambda layers: layers.is_normalized, batch_norm="none", input_batch_norm=False
    ),
    "dropout: none": lambda c: _unless(not c.model.drops, _without_dropout(c.model)),
    "early_stopping: none": lambda c: _unless(c.early_stopping.patience is None, {"early_stopping.patience": None}),
    "max_norm: none": lambda c: _unless(c.max_norm is None, {"max_norm": None}),
    "weight_decay: 0": lambda c: _unless(c.optimizer.weight_decay == 0.0, {"optimizer.weight_decay": 0.0}),
    "block: plain": lambda c: _without_shortcuts(c.model),
    "activation: sigmoid": lambda c: _activation(c, "sigmoid"),
    "activation: relu": lambda c: _activation(c, "relu"),
    "initialization: torch": lambda c: _of_layers(
        c,
        lambda layers: layers.resolved_initialization != "torch" and layers.num_layers > 0,
        initialization="torch",
        initialization_gain=None,
    ),
}


@dataclass(frozen=True)
class Row:
    """A technique switched off.

    Attributes:
        case: What was changed; `FULL` for nothing.
        values: Validation accuracy at the best epoch, by seed.
        mean: Its mean.
        interval: The mean's 95 % interval; None with fewer seeds than `pipeline.evaluation.intervals.FEWEST`.
        differences: Minus the full configuration's, by seed.
        difference: Their mean.
        difference_interval: Its 95 % interval, paired by seed.
        seconds: Mean time of a trial.
        epochs: Mean number of epochs.
        diverged: How many trials diverged; they have no value.
    """

    case: str
    values: dict[int, float]
    mean: float | None
    interval: Interval | None
    differences: dict[int, float]
    difference: float | None
    difference_interval: Interval | None
    seconds: float
    epochs: float
    diverged: int


def ablations(config: TrialConfig) -> dict[str, TrialConfig]:
    """Returns the full configuration and, by name, each with one technique switched off."""
    cases = {FULL: config}
    for name, switch_off in TECHNIQUES.items():
        if (settings := switch_off(config)) is not None:
            cases[name] = config.replaced(settings)
    return cases


def rows(results: Mapping[str, Mapping[int, TrialResult]]) -> list[Row]:
    """Returns the full configuration's row, then the others, what hurts most first.

    Args:
        results: By name, then by seed.
    """
    full = _values(results.get(FULL, {}))
    found = [_row(case, by_seed, full) for case, by_seed in results.items()]
    return sorted(found, key=lambda row: (row.case != FULL, row.difference if row.difference is not None else -1.0))


def ablation_csv(found: Sequence[Row]) -> str:
    """Writes every value: case, seed, valid_accuracy."""
    lines = [f"{row.case},{seed},{value}" for row in found for seed, value in row.values.items()]
    return "\n".join(["case,seed,valid_accuracy", *lines]) + "\n"


def _row(case: str, by_seed: Mapping[int, TrialResult], full: Mapping[int, float]) -> Row:
    values = _values(by_seed)
    differences = {seed: value - full[seed] for seed, value in values.items() if seed in full}
    return Row(
        case=case,
        values=values,
        mean=statistics.fmean(values.values()) if values else None,
        interval=mean_interval(list(values.values()), SHARE),
        differences=differences,
        difference=statistics.fmean(differences.values()) if differences else None,
        difference_interval=mean_interval(list(differences.values())),
        seconds=statistics.fmean(result.seconds for result in by_seed.values()),
        epochs=statistics.fmean(result.epochs for result in by_seed.values()),
        diverged=sum(result.outcome == "diverged" for result in by_seed.values()),
    )


def _values(by_seed: Mapping[int, TrialResult]) -> dict[int, float]:
    kept = {seed: result for seed, result in sorted(by_seed.items()) if result.outcome == "complete"}
    return {seed: result.value for seed, result in kept.items() if result.value is not None}


def _unless(off: bool, settings: Settings) -> Settings | None:
    return None if off else settings


def _of_layers(config: TrialConfig, has: Callable[[LayerSettings], bool], **settings: Any) -> Settings | None:
    """Returns settings of those layers that have a technique, under their paths; None where none have it."""
    paths = [path for path, layers in layers_by_path(config.model).items() if has(layers)]
    return {f"{path}.{name}": value for path in paths for name, value in settings.items()} or None


def _without_dropout(model: ModelBlock) -> Settings:
    found = {path: layers for path, layers in layers_by_path(model).items() if isinstance(layers, HiddenLayers)}
    settings: Settings = {f"{path}.dropout": {"kind": "none"} for path, layers in found.items() if layers.drops}
    return settings | ({"model.channel_dropout": 0.0} if isinstance(model, CnnConfig) else {})


def _without_shortcuts(model: ModelBlock) -> Settings | None:
    if not isinstance(model, CnnConfig) or model.block == "plain":
        return None
    return {"model.block": "plain", "model.blocks": model.blocks * model.block_layers}  # as many convolutions


def _activation(config: TrialConfig, name: str) -> Settings | None:
    settings: Settings = {}
    for path, layers in layers_by_path(config.model).items():
        if layers.activation != name and layers.num_layers > 0:
            settings[f"{path}.activation"] = name
            if isinstance(layers, HiddenLayers) and layers.uses_alpha_dropout:  # which is for SELU only
                settings[f"{path}.dropout.variant"] = "standard"
    return settings or None
