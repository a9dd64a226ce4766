"""Backbones and transfer learning in configurations and spaces: implied kinds, defaults, rules, and records."""

from typing import Any

import pytest

from pipeline.config.data import Digits
from pipeline.config.model import BackboneConfig, MlpConfig
from pipeline.config.transfer import CustomAugmentation, Unfreeze
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import SpaceError
from pipeline.space.files import SpaceFile, configuration_text, load_configuration, read_space, sample_configurations
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import dump, parse

PRETRAINED = "model: {kind: backbone, name: resnet18}\n  "
LINES = "space:\n  data: {kind: digits}\n  "  # what follows stands in line 3


def read(inner: str, *settings: str) -> SpaceFile:
    return read_space(parse(f"{LINES}{inner}\n", "f.yaml"), "f", [Override.parse(setting) for setting in settings])


def config_of(inner: str, *settings: str) -> TrialConfig:
    (config,) = read(inner, *settings).space.boundary_configs([])
    return config


def head(settings: str) -> str:
    return f"model: {{kind: backbone, name: resnet18, head: {{{settings}}}}}"


IMPLIED: dict[str, dict[str, Any]] = {
    "model": {"width": 12},
    "transfer": {"lr_factor": 0.5},
    "augment": {"flip": True},
}
MEANT = {
    "model": MlpConfig(width=12),
    "transfer": Unfreeze(lr_factor=0.5),
    "augment": CustomAugmentation(flip=True),
}


def others(block: str) -> dict[str, Any]:
    return {} if block == "model" else {"model": {"kind": "backbone", "name": "resnet18"}}


@pytest.mark.parametrize("block", IMPLIED)
def test_a_block_without_a_kind_has_the_implied_one(block: str) -> None:
    ((name, value),) = IMPLIED[block].items()
    before = "" if block == "model" else PRETRAINED
    written = str(value).lower()
    found = [
        config_of(f"{before}{block}: {{{name}: {written}}}"),
        config_of(f"{before}epochs: 20", f"{block}={{{name}: {written}}}"),
        config_of(f"{before}epochs: 20", f"{block}.{name}={written}"),
        TrialConfig.model_validate({"data": {"kind": "digits"}, **others(block), block: IMPLIED[block]}),
        TrialConfig(data=Digits(), **{**others(block), block: IMPLIED[block]}),
    ]
    for config in found:
        assert getattr(config, block) == MEANT[block]
        assert config == found[0]
    assert next(iter(found[0].to_dict()[block])) == "kind"


def test_settings_of_a_block_do_not_change_the_kind_that_is_written() -> None:
    assert config_of(f"{PRETRAINED}augment: light", "augment.flip=false").augment.kind == "light"
    assert config_of(f"{PRETRAINED}transfer: {{kind: auto}}", "transfer.lr_factor=0.1").transfer.kind == "auto"
    assert config_of("epochs: 20", "model.kind=backbone", "model.name=resnet18").model == BackboneConfig(
        name="resnet18"
    )


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("{}", "none"),
        ("mlp", "none"),
        ("{kind: backbone, name: resnet18}", "frozen"),
        ("{kind: backbone, name: resnet18, pretrained: true}", "frozen"),
        ("{kind: backbone, name: resnet18, pretrained: mine.safetensors}", "frozen"),
        ("{kind: backbone, name: resnet18, pretrained: false}", "none"),
    ],
)
def test_pretrained_backbones_are_frozen_unless_the_file_says_otherwise(model: str, kind: str) -> None:
    config = config_of(f"model: {model}")
    assert config.transfer.kind == kind
    assert TrialConfig(data=config.data, model=config.model).transfer.kind == kind
    assert TrialConfig.model_validate({"data": config.data, "model": config.model.model_dump()}).transfer.kind == kind
    stated = config_of(f"{PRETRAINED}transfer: none")
    assert stated.transfer.kind == "none"
    # A change of a configuration changes nothing else.
    assert config.replaced({"epochs": 3}).transfer.kind == kind
    assert config.replaced({"transfer": {"kind": "none"}}).transfer.kind == "none"


def test_the_default_follows_what_is_drawn() -> None:
    pretrained = read("model: {kind: backbone, name: resnet18, pretrained: {choice: [true, false]}}").space
    assert [config.transfer.kind for config in pretrained.boundary_configs(["model.pretrained"])] == ["frozen", "none"]
    kinds = read("model: {choice: [mlp, {kind: backbone, name: resnet18}]}").space
    assert [config.transfer.kind for config in kinds.boundary_configs(["model.kind"])] == ["none", "frozen"]


# Each states, for all its draws, settings that only some of them use.
PARTLY_USED = {
    "head": head("hidden_layers: {int: [0, 1]}, activation: {choice: [selu, elu]}, width: 17, elu_alpha: 0.5"),
    "views": f"{PRETRAINED}augment: {{choice: [none, light]}}\n  feature_cache: {{views: 2, limit_gib: 3.0}}",
    "cache": f"{PRETRAINED}transfer: {{choice: [none, unfreeze, auto]}}\n  feature_cache: {{dtype: float16}}",
    "kinds": "model: {choice: [{kind: mlp, width: [30, 20]}, {kind: backbone, name: resnet18, drop_path: 0.1}]}\n  "
    "feature_cache: {limit_gib: 1.5}\n  ema_decay: {choice: [null, 0.99]}",
}


@pytest.mark.parametrize("space", PARTLY_USED)
def test_every_draw_is_a_file_that_is_read_again(space: str, tmp_path: Any) -> None:
    file, drawn = tmp_path / "best.yaml", read(PARTLY_USED[space]).space
    paths = [parameter.path for parameter in drawn.parameters()]
    configs = list(drawn.boundary_configs(paths))
    assert len(configs) == drawn.num_configurations()
    for config in configs:
        file.write_text(configuration_text(config))
        assert load_configuration(str(file)) == config
        assert load_configuration(str(file), [Override.parse("epochs=6")]) == config.replaced({"epochs": 6})
    for text in sample_configurations(drawn, 3, seed=0):
        file.write_text(text)
        assert load_configuration(str(file)) in configs


def test_what_a_person_writes_is_held_to_its_effect_even_beside_a_record() -> None:
    # With a single setting left out it is no record, and its useless settings are refused.
    config = TrialConfig(data=Digits(), feature_cache={"dtype": "float16"})  # type: ignore[arg-type]
    whole = {"space": config.to_dict()}
    del whole["space"]["seed"]
    with pytest.raises(SpaceError, match=r"feature_cache\.dtype: has no effect here"):
        read_space(parse(dump(whole), "f.yaml"), "f")
