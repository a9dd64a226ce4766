"""Rules about hidden layers: those of a perceptron, convolutions, and those of a head."""

from collections.abc import Callable

from pipeline.config.cnn import CnnConfig
from pipeline.config.kinds import Block
from pipeline.config.model import Dropout, HiddenLayers, LayerSettings
from pipeline.config.rules.rule import Rule, UnusedSettingRule
from pipeline.config.settings import TrialSettings

Broken = Callable[[HiddenLayers], str | None]
Used = Callable[[LayerSettings], bool]
# Where a block of hidden layers can stand: a perceptron is one, and a backbone's head.
PREFIXES = ("model", "model.head")


def _list_of_widths_has_one_for_each_layer(layers: HiddenLayers) -> str | None:
    if isinstance(layers.width, int) or len(layers.width) == layers.hidden_layers:
        return None
    return (
        f"a list of widths has one number for each hidden layer; got {len(layers.width)} numbers for "
        f"{layers.hidden_layers} layers. Leave hidden_layers out: it follows from the list"
    )


def _alpha_dropout_is_for_selu(layers: HiddenLayers) -> str | None:
    dropout, activation = layers.dropout, layers.activation
    if not isinstance(dropout, Dropout) or dropout.variant != "alpha" or activation == "selu":
        return None
    return (
        f"alpha dropout keeps SELU's mean and variance and fits no other activation; got {activation}. "
        "Set variant to auto (alpha with selu, standard otherwise)"
    )


def _test_scaling_is_for_standard_dropout(layers: HiddenLayers) -> str | None:
    dropout = layers.dropout
    if not isinstance(dropout, Dropout) or dropout.scaling == "train" or not layers.uses_alpha_dropout:
        return None
    return (
        "test-time scaling is a way of standard dropout; alpha dropout, which SELU gets by default, has its own. "
        "Set scaling: train, or variant: standard"
    )


# Places of the settings below a block of hidden layers, and what must hold of them.
_RULES: tuple[tuple[tuple[str, ...], Broken], ...] = (
    (("width", "hidden_layers"), _list_of_widths_has_one_for_each_layer),
    (("dropout.variant", "dropout.kind", "activation"), _alpha_dropout_is_for_selu),
    (("dropout.scaling", "dropout.variant", "dropout.kind", "activation"), _test_scaling_is_for_standard_dropout),
)

_HAS_BATCH_NORM = (
    ("batch_norm", "input_batch_norm"),
    lambda layers: layers.is_normalized,
    "batch_norm: before (or after)",
)
_UNUSED_SETTINGS: tuple[tuple[str, tuple[str, ...], Used, str], ...] = (
    (
        "negative_slope",
        ("activation",),
        lambda layers: layers.activation in ("leaky_relu", "prelu"),
        "activation: leaky_relu (or prelu)",
    ),
    ("elu_alpha", ("activation",), lambda layers: layers.activation == "elu", "activation: elu"),
    (
        "initialization_gain",
        ("initialization",),
        lambda layers: layers.initialization != "torch",
        "initialization: he (or glorot, lecun)",
    ),
    ("batch_norm_alpha", *_HAS_BATCH_NORM),
    ("batch_norm_epsilon", *_HAS_BATCH_NORM),
    *(
        (name, ("hidden_layers",), lambda layers: layers.num_layers > 0, "hidden_layers: 1 (or more)")
        for name in ("width", "activation", "initialization", "initialization_gain", "batch_norm")
    ),
)


def _block_at(prefix: str, config: TrialSettings) -> Block | None:
    """Returns the block at a place: of hidden layers, or of a network that has other settings there; None if none."""
    return config.model if prefix == "model" else getattr(config.model, "head", None)


def _rule(prefix: str, paths: tuple[str, ...], broken: Broken) -> Rule:
    def holds(config: TrialSettings) -> str | None:
        layers = _block_at(prefix, config)
        return broken(layers) if isinstance(layers, HiddenLayers) else None

    return Rule((*(f"{prefix}.{path}" for path in paths), "model.kind"), holds)


def _unused_setting_rule(
    prefix: str, path: str, depends_on: tuple[str, ...], used: Used, remedy: str
) -> UnusedSettingRule:
    def is_used(config: TrialSettings) -> bool:
        layers = _block_at(prefix, config)
        # What other networks have a setting for, they use.
        return used(layers) if isinstance(layers, LayerSettings) else hasattr(layers, path)

    paths = (*(f"{prefix}.{each}" for each in depends_on), "model.kind")
    return UnusedSettingRule(f"{prefix}.{path}", paths, is_used, f"set {prefix}.{remedy}")


def _has_stages(model: Block) -> bool:
    """Returns whether a network has several stages; one of another kind uses what it has a setting for."""
    return model.stages > 1 if isinstance(model, CnnConfig) else hasattr(model, "pooling")


def _list_of_channels_has_one_for_each_stage(config: TrialSettings) -> str | None:
    model = config.model
    if not isinstance(model, CnnConfig) or isinstance(model.channels, int) or len(model.channels) == model.stages:
        return None
    return (
        f"a list of channels has one number for each stage; got {len(model.channels)} numbers for {model.stages} "
        "stages. Leave stages out: it follows from the list"
    )


LAYER_RULES = (
    *(_rule(prefix, *each) for prefix in PREFIXES for each in _RULES),
    Rule(("model.channels", "model.stages", "model.kind"), _list_of_channels_has_one_for_each_stage),
)
_SEVERAL_STAGES = "set model.stages: 2 (or more)"
LAYER_UNUSED_SETTING_RULES = (
    *(_unused_setting_rule(prefix, *each) for prefix in PREFIXES for each in _UNUSED_SETTINGS),
    UnusedSettingRule(
        "model.channel_growth",
        ("model.channels", "model.stages", "model.kind"),
        lambda config: _has_stages(config.model) and isinstance(getattr(config.model, "channels", None), int),
        f"{_SEVERAL_STAGES}, and model.channels to one number",
    ),
    UnusedSettingRule(
        "model.pooling",
        ("model.channels", "model.stages", "model.kind"),
        lambda config: _has_stages(config.model),
        _SEVERAL_STAGES,
    ),
)
