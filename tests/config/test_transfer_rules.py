"""Rules of backbones and transfer learning: every mistake has its line, rule, value and remedy, searched spaces too."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.data import Digits, Table
from pipeline.config.model import BackboneConfig, HeadConfig
from pipeline.config.rules.table import RULES, UNUSED_SETTING_RULES
from pipeline.config.transfer import Frozen
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import SpaceError
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import parse

PRETRAINED = "model: {kind: backbone, name: resnet18}\n  "
LINES = "space:\n  data: {kind: digits}\n  "  # what follows stands in line 3


def read(inner: str) -> SpaceFile:
    return read_space(parse(f"{LINES}{inner}\n", "f.yaml"), "f")


def config_of(inner: str) -> TrialConfig:
    (config,) = read(inner).space.boundary_configs([])
    return config


def messages(inner: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        read(inner)
    return [str(problem) for problem in caught.value.problems]


def head(settings: str) -> str:
    return f"model: {{kind: backbone, name: resnet18, head: {{{settings}}}}}"


HEAD_RULES = {
    "hidden_layers: 1, width: [10, 20]": "width: a list of widths has one number for each hidden layer; got 2 numbers "
    "for 1 layers. Leave hidden_layers out",
    "hidden_layers: 1, dropout: {kind: dropout, variant: alpha}": "dropout.variant: alpha dropout keeps SELU's mean "
    "and variance and fits no other activation; got relu. Set variant to auto",
    "hidden_layers: 1, activation: selu, dropout: {kind: dropout, scaling: test}": "dropout.scaling: test-time scaling "
    "is a way of standard dropout; alpha dropout, which SELU gets by default, has its own. Set scaling: train",
    "hidden_layers: 1, elu_alpha: 2.0": "elu_alpha: has no effect here: set {}activation: elu, or leave it out",
    "hidden_layers: 1, negative_slope: 0.2": "negative_slope: has no effect here: set {}activation: leaky_relu",
    "hidden_layers: 1, initialization: torch, initialization_gain: 2.0": "initialization_gain: has no effect here: "
    "set {}initialization: he",
    "hidden_layers: 1, batch_norm: none, batch_norm_alpha: 0.5": "batch_norm_alpha: has no effect here: set "
    "{}batch_norm: before",
    "hidden_layers: 1, batch_norm: none, batch_norm_epsilon: 0.5": "batch_norm_epsilon: has no effect here",
}


@pytest.mark.parametrize("settings", HEAD_RULES)
@pytest.mark.parametrize("place", ["model", "model.head"])
def test_a_head_obeys_the_rules_of_a_perceptron(settings: str, place: str) -> None:
    inner = f"model: {{{settings}}}" if place == "model" else head(settings)
    (message,) = messages(inner)
    assert message.startswith(f"f.yaml:3: {place}.{HEAD_RULES[settings].format(f'{place}.')}")


@pytest.mark.parametrize(
    "setting",
    ["width: 10", "activation: selu", "initialization: torch", "initialization_gain: 2.0", "batch_norm: none"],
)
def test_a_linear_head_has_no_hidden_layers_to_describe(setting: str) -> None:
    (message,) = messages(head(setting))
    name = setting.split(":")[0]
    assert message == (
        f"f.yaml:3: model.head.{name}: has no effect here: set model.head.hidden_layers: 1 (or more), or leave it out"
    )
    model = config_of(head(f"hidden_layers: 1, {setting}")).model
    assert isinstance(model, BackboneConfig)
    assert model.head != HeadConfig(hidden_layers=1)
    # Some draws use it, so it may be said for all.
    assert read(head(f"hidden_layers: {{int: [0, 1]}}, {setting}")).space.num_configurations() == 2


def test_a_list_of_widths_is_the_head_s_number_of_layers() -> None:
    model = config_of(head("width: [20, 10]")).model
    assert isinstance(model, BackboneConfig)
    assert model.head.hidden_layers == 2


NEEDS_BACKBONE = "is about a backbone's layers, and model.kind is mlp. Set model.kind: backbone, or transfer: none"
NEEDS_FROZEN = ("has no effect here: set transfer: frozen (or unfreeze),", "or leave it out")
UNFREEZES = "must be smaller than epochs, or nothing is ever unfrozen; got"
# What a file says after its third line, the line and setting that are blamed, and how the message begins and ends.
REFUSED: dict[str, tuple[str, str, str]] = {
    "epochs: 9\n  transfer: frozen": ("4: transfer.kind", "frozen", NEEDS_BACKBONE),
    "epochs: 9\n  transfer: {lr_factor: 0.1}": ("4: transfer.kind", "unfreeze", NEEDS_BACKBONE),
    f"{PRETRAINED}transfer: {{frozen_epochs: 20}}": (
        "4: transfer.frozen_epochs",
        f"{UNFREEZES} 20 of 20 epochs.",
        "Lower it, or set transfer: frozen",
    ),
    f"{PRETRAINED}transfer: {{kind: auto, phase_epochs: 4}}\n  epochs: 4": (
        "4: transfer.phase_epochs",
        "must be smaller than epochs, which all phases share; got 4 of 4 epochs.",
        "Lower it, or raise epochs",
    ),
    f"{PRETRAINED}transfer: {{frozen_epochs: 3}}\n  schedule: {{kind: cosine, warmup_epochs: 3.0}}": (
        "5: schedule.warmup_epochs",
        "the warm-up must be shorter than each phase of the training, here 3 epochs;",
        "got 3.0 epochs",
    ),
    f"{PRETRAINED}transfer: auto\n  schedule: {{kind: cosine, warmup_epochs: 5.0}}": (
        "5: schedule.warmup_epochs",
        "the warm-up must be shorter than each phase of the training, here 5 epochs;",
        "got 5.0 epochs",
    ),
    "batch_size: 100\n  accumulation: 51": (
        "4: accumulation",
        "each part of a batch needs at least 2 images; got 51 parts of 100 images.",
        "Lower accumulation, or raise batch_size",
    ),
    f"{head('hidden_layers: 1')}\n  batch_size: 1": (
        "4: batch_size",
        "batch normalization needs at least 2 images in a batch; got 1.",
        "Raise batch_size, or set batch_norm: none",
    ),
    f"{head('input_batch_norm: true')}\n  batch_size: 1": (
        "4: batch_size",
        "batch normalization needs at least 2 images in a batch; got 1.",
        "Raise batch_size, or set batch_norm: none",
    ),
    f"{PRETRAINED}augment: strong\n  feature_cache: {{views: 2}}": (
        "5: feature_cache.views",
        "cached views hold windows, mirror images, color jitter and RandAugment; got erase, mixup, cutmix,",
        "Set augment.erase: 0, or views: null",
    ),
    f"{PRETRAINED}feature_cache: {{views: 2}}": (
        "4: feature_cache.views",
        "has no effect here: set augment: light (or another), on a backbone with frozen layers,",
        "or leave it out",
    ),
    "feature_cache: {dtype: float16}": ("3: feature_cache.dtype", *NEEDS_FROZEN),
    f"{PRETRAINED}transfer: none\n  feature_cache: {{limit_gib: 2.0}}": ("5: feature_cache.limit_gib", *NEEDS_FROZEN),
    f"{PRETRAINED}feature_cache: {{enabled: false, dtype: float16}}": ("4: feature_cache.dtype", *NEEDS_FROZEN),
    "model: {name: resnet18}": ("3: model.name", "unknown setting of this kind.", "It belongs to kind: backbone"),
    "model: {kind: backbone}": ("3: model.name", "is missing", "a space needs model.name"),
    "model: {kind: backbone, name: resnet18, width: 9}": (
        "3: model.width",
        "unknown setting of this kind.",
        "It belongs to kind: mlp; there is model.head.width",
    ),
    f"{PRETRAINED}transfer: {{kind: frozen, lr_factor: 0.1}}": (
        "4: transfer.lr_factor",
        "unknown setting of this kind.",
        "It belongs to kind: unfreeze or auto",
    ),
    f"{PRETRAINED}transfer: {{unfreeze_top_stages: every}}": ("4: transfer.unfreeze_top_stages", "must be", "'every'"),
    f"{PRETRAINED}transfer: {{choice: [frozen, {{lr_factor: 0.1}}]}}": (
        "4: transfer",
        "each block of a choice needs a kind:",
        "one of none, frozen, unfreeze, auto",
    ),
    f"{PRETRAINED}augment: lite": ("4: augment.kind", "must be one of none, light, strong, custom", "mean light?"),
}


@pytest.mark.parametrize("inner", REFUSED)
def test_mistakes_have_their_line_rule_value_and_remedy(inner: str) -> None:
    place, begin, end = REFUSED[inner]
    (message,) = messages(inner)
    found, _, text = message.partition(f"{place}: ")
    assert found == "f.yaml:"
    assert text.startswith(begin)
    assert text.endswith(end)


# Spaces of which one draw in many breaks a rule, and what the message says of that draw.
SEARCHED = {
    "model: {choice: [mlp, {kind: backbone, name: resnet18}]}\n  transfer: {choice: [none, frozen]}": "frozen is about",
    f"{PRETRAINED}transfer: {{frozen_epochs: {{int: [1, 25]}}}}": "got 25 of 20 epochs",
    f"{PRETRAINED}transfer: {{frozen_epochs: 5}}\n  epochs: {{choice: [90, 5]}}": "got 5 of 5 epochs",
    f"{PRETRAINED}transfer: {{choice: [frozen, {{kind: unfreeze, frozen_epochs: {{int: [0, 20]}}}}]}}": "got 20 of 20",
    f"{PRETRAINED}transfer: {{kind: auto, phase_epochs: {{int: [1, 20]}}}}": "got 20 of 20 epochs",
    f"{PRETRAINED}transfer: {{frozen_epochs: {{int: [2, 9]}}}}\n  schedule: {{kind: cosine, warmup_epochs: 2.5}}": (
        "here 2 epochs; got 2.5 epochs"
    ),
    f"{PRETRAINED}transfer: {{frozen_epochs: {{int: [0, 18]}}}}\n  schedule: {{kind: cosine, warmup_epochs: 2.5}}": (
        "here 2 epochs; got 2.5 epochs"
    ),
    "accumulation: {int: [1, 64]}\n  batch_size: {choice: [256, 126]}": "got 64 parts of 126 images",
    f"{head('hidden_layers: {int: [0, 2]}')}\n  batch_size: {{choice: [8, 1]}}": "in a batch; got 1",
    f"{PRETRAINED}augment: {{mixup: {{float: [0.0, 1.0]}}}}\n  feature_cache: {{views: 2}}": "got mixup",
    f"{PRETRAINED}augment: {{choice: [light, strong]}}\n  feature_cache: {{views: {{choice: [null, 2]}}}}": "got erase",
    head("hidden_layers: 1, activation: {choice: [selu, elu]}, dropout: {kind: dropout, variant: alpha}"): "got elu",
    head("hidden_layers: {int: [1, 2]}, width: [10, 20]"): "got 2 numbers for 1 layers",
}


@pytest.mark.parametrize("inner", SEARCHED)
def test_one_draw_that_breaks_a_rule_is_enough(inner: str) -> None:
    (message,) = messages(inner)
    assert ": the space can draw a configuration that breaks a rule: " in message
    assert SEARCHED[inner] in message


@pytest.mark.parametrize(
    "inner",
    [
        f"{PRETRAINED}transfer: {{frozen_epochs: {{int: [0, 19]}}}}",
        f"{PRETRAINED}transfer: {{frozen_epochs: 5}}\n  epochs: {{int: [6, 90]}}",
        f"{PRETRAINED}transfer: {{frozen_epochs: 0}}\n  schedule: {{kind: cosine, warmup_epochs: 19.0}}",
        f"{PRETRAINED}transfer: {{unfreeze_top_stages: {{int: [1, 99]}}}}",  # what a model has, timm knows
        f"{PRETRAINED}transfer: {{unfreeze_top_stages: {{choice: [1, all]}}}}",
        f"{PRETRAINED}batch_size: 1",  # its batch normalization is frozen
        "batch_size: 100\n  accumulation: 50",
        f"{PRETRAINED}augment: {{choice: [none, light]}}\n  feature_cache: {{views: 2}}",
        "model: {choice: [mlp, {kind: backbone, name: resnet18}]}\n  feature_cache: {dtype: float16}",
        f"{PRETRAINED}transfer: {{choice: [none, frozen]}}\n  feature_cache: {{dtype: float16}}",
    ],
)
def test_what_every_draw_obeys_is_accepted(inner: str) -> None:
    assert read(inner).space.num_configurations() != 0


def test_python_is_refused_what_a_file_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"transfer\.kind: frozen is about a backbone's layers"):
        TrialConfig(data=Digits(), transfer=Frozen())
    config = TrialConfig(data=Digits(), model=BackboneConfig(name="resnet18"))
    with pytest.raises(ValidationError, match=r"transfer\.frozen_epochs: must be smaller than epochs"):
        config.replaced({"transfer": {"frozen_epochs": 20}})


def test_rules_are_about_settings_that_exist() -> None:
    """A rule with a place that is nowhere would pass every space."""
    searched = (
        "transfer: {lr_factor: 0.1}\n  optimizer: sgd\n  schedule: {kind: performance, patience: 2}",
        "transfer: auto\n  schedule: {kind: piecewise, boundaries: [1], factors: [0.1]}",
        "augment: strong",
    )
    dropout = "hidden_layers: 1, dropout: {kind: dropout}"
    configs = [config_of(head(dropout)), config_of(f"model: {{{dropout}}}"), config_of("model: {kind: cnn}")]
    configs += [config_of(f"{PRETRAINED}{more}") for more in searched]
    configs.append(configs[0].model_copy(update={"data": Table(path="t.csv", label="y")}))
    known = {path for config in configs for path in _paths(config.to_dict())}
    assert {path for rule in RULES for path in rule.paths} <= known
    assert {path for each in UNUSED_SETTING_RULES for path in (each.path, *each.depends_on)} <= known


def _paths(plain: Mapping[str, Any], prefix: str = "") -> set[str]:
    below = [_paths(value, f"{prefix}{name}.") for name, value in plain.items() if isinstance(value, Mapping)]
    return {prefix + name for name in plain}.union(*below)
