"""Rules that span several settings: what cannot work together, and what would have no effect.

A rule names the settings it looks at; `pipeline.space_file` then proves it for a whole search space by trying the
extremes of just those, instead of hoping that a sample runs into it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.config import Dropout, TrialConfig
from pipeline.training_config import Performance, Piecewise, Sgd


@dataclass(frozen=True)
class Rule:
    """Something that must hold for every configuration.

    Attributes:
        paths: Settings that the rule looks at, or blocks that hold them; the first one is blamed.
        broken: Returns the message (rule, value, remedy), or None where the rule holds.
    """

    paths: tuple[str, ...]
    broken: Callable[[TrialConfig], str | None]


@dataclass(frozen=True)
class Relevance:
    """A setting that only some configurations use: to set it where none can is a mistake.

    Attributes:
        path: The setting.
        depends_on: What decides whether it is used.
        used: Whether a configuration uses it.
        remedy: What would make it useful.
    """

    path: str
    depends_on: tuple[str, ...]
    used: Callable[[TrialConfig], bool]
    remedy: str


def broken_rules(config: TrialConfig) -> list[tuple[str, str]]:
    """Returns (path, message) for every rule that a configuration breaks."""
    return [(rule.paths[0], message) for rule in RULES if (message := rule.broken(config)) is not None]


def _list_of_widths_has_one_for_each_layer(config: TrialConfig) -> str | None:
    model = config.model
    if isinstance(model.width, int) or len(model.width) == model.hidden_layers:
        return None
    return (
        f"a list of widths has one number for each hidden layer; got {len(model.width)} numbers for "
        f"{model.hidden_layers} layers. Leave hidden_layers out: it follows from the list"
    )


def _alpha_dropout_is_for_selu(config: TrialConfig) -> str | None:
    dropout, activation = config.model.dropout, config.model.activation
    if not isinstance(dropout, Dropout) or dropout.variant != "alpha" or activation == "selu":
        return None
    return (
        f"alpha dropout keeps SELU's mean and variance and fits no other activation; got {activation}. "
        "Set variant to auto (alpha with selu, standard otherwise)"
    )


def _test_scaling_is_for_standard_dropout(config: TrialConfig) -> str | None:
    dropout = config.model.dropout
    if not isinstance(dropout, Dropout) or dropout.scaling == "train" or not config.model.uses_alpha_dropout:
        return None
    return (
        "test-time scaling is a way of standard dropout; alpha dropout, which SELU gets by default, has its own. "
        "Set scaling: train, or variant: standard"
    )


def _batch_norm_needs_a_batch(config: TrialConfig) -> str | None:
    if config.batch_size > 1 or (config.model.batch_norm == "none" and not config.model.input_batch_norm):
        return None
    return "batch normalization needs at least 2 images in a batch; got 1. Raise batch_size, or set batch_norm: none"


def _nesterov_needs_momentum(config: TrialConfig) -> str | None:
    optimizer = config.optimizer
    if not isinstance(optimizer, Sgd) or not optimizer.nesterov or optimizer.momentum > 0.0:
        return None
    return "Nesterov's gradient needs momentum above 0; got momentum 0. Set momentum, or nesterov: false"


def _early_stopping_outwaits_the_schedule(config: TrialConfig) -> str | None:
    schedule, patience = config.schedule, config.early_stopping.patience
    if not isinstance(schedule, Performance) or patience is None or patience > schedule.patience:
        return None
    return (
        f"must be larger than schedule.patience, or training ends before the reduced rate is ever used; got "
        f"{patience} with schedule.patience {schedule.patience}. Raise it above {schedule.patience}"
    )


def _piecewise_boundaries_ascend(config: TrialConfig) -> str | None:
    schedule = config.schedule
    if not isinstance(schedule, Piecewise):
        return None
    if len(schedule.boundaries) != len(schedule.factors):
        return (
            f"needs one factor for each boundary; got {len(schedule.boundaries)} boundaries and "
            f"{len(schedule.factors)} factors"
        )
    if list(schedule.boundaries) != sorted(set(schedule.boundaries)):
        return f"boundaries ascend; got {list(schedule.boundaries)}"
    return None


def _warmup_ends_before_training_does(config: TrialConfig) -> str | None:
    warmup = config.schedule.warmup_epochs
    if warmup < config.epochs:
        return None
    return f"the warm-up must be shorter than the training of {config.epochs} epochs; got {warmup} epochs"


def _own_data_needs_a_path(config: TrialConfig) -> str | None:
    if config.data.path is not None or config.data.name not in ("image_folder", "arrays"):
        return None
    return f"{config.data.name} needs data.path: the folder of images, or the .npz file"


RULES = (
    Rule(("model.width", "model.hidden_layers"), _list_of_widths_has_one_for_each_layer),
    Rule(("model.dropout.variant", "model.dropout.kind", "model.activation"), _alpha_dropout_is_for_selu),
    Rule(
        ("model.dropout.scaling", "model.dropout.variant", "model.dropout.kind", "model.activation"),
        _test_scaling_is_for_standard_dropout,
    ),
    Rule(("batch_size", "model.batch_norm", "model.input_batch_norm"), _batch_norm_needs_a_batch),
    Rule(("optimizer.nesterov", "optimizer.momentum", "optimizer.kind"), _nesterov_needs_momentum),
    Rule(("early_stopping.patience", "schedule.patience", "schedule.kind"), _early_stopping_outwaits_the_schedule),
    Rule(("schedule.boundaries", "schedule.factors", "schedule.kind"), _piecewise_boundaries_ascend),
    Rule(("schedule.warmup_epochs", "schedule.kind", "epochs"), _warmup_ends_before_training_does),
    Rule(("data.path", "data.name"), _own_data_needs_a_path),
)


def _uses_batch_norm(config: TrialConfig) -> bool:
    return config.model.batch_norm != "none" or config.model.input_batch_norm


RELEVANCES = (
    Relevance(
        "model.negative_slope",
        ("model.activation",),
        lambda config: config.model.activation in ("leaky_relu", "prelu"),
        "set model.activation: leaky_relu (or prelu)",
    ),
    Relevance(
        "model.elu_alpha",
        ("model.activation",),
        lambda config: config.model.activation == "elu",
        "set model.activation: elu",
    ),
    Relevance(
        "model.initialization_gain",
        ("model.initialization",),
        lambda config: config.model.initialization != "torch",
        "set model.initialization: he (or glorot, lecun)",
    ),
    Relevance(
        "model.batch_norm_alpha",
        ("model.batch_norm", "model.input_batch_norm"),
        _uses_batch_norm,
        "set model.batch_norm: before (or after)",
    ),
    Relevance(
        "model.batch_norm_epsilon",
        ("model.batch_norm", "model.input_batch_norm"),
        _uses_batch_norm,
        "set model.batch_norm: before (or after)",
    ),
    Relevance(
        "data.path",
        ("data.name",),
        lambda config: config.data.name in ("image_folder", "arrays"),
        "set data.name: image_folder or arrays, or give the folder of a known data set with --data-dir",
    ),
    Relevance(
        "data.image_size",
        ("data.name",),
        lambda config: config.data.name == "image_folder",
        "set data.name: image_folder; the other data sets keep the size they have",
    ),
)
