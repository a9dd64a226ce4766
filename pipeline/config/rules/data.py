"""Rules about the data: numbers are no images."""

from pipeline.config.cnn import CnnConfig
from pipeline.config.data import Table
from pipeline.config.model import BackboneConfig
from pipeline.config.rules.rule import Rule, UnusedSettingRule
from pipeline.config.settings import TrialSettings
from pipeline.config.transfer import NoAugmentation


def _has_numbers(config: TrialSettings) -> bool:
    return isinstance(config.data, Table) and config.data.image is None


def _numbers_need_a_perceptron(config: TrialSettings) -> str | None:
    if not _has_numbers(config) or not isinstance(config.model, BackboneConfig | CnnConfig):
        return None
    return (
        f"{config.model.kind} needs images, and a table without data.image has numbers. Set model: mlp, or data.image: "
        "the column with the images' paths"
    )


def _numbers_are_not_augmented(config: TrialSettings) -> str | None:
    if not _has_numbers(config) or isinstance(config.augment, NoAugmentation):
        return None
    return f"{config.augment.kind} changes images, and a table without data.image has numbers. Set augment: none"


DATA_RULES = (
    Rule(("model.kind", "data.kind", "data.image"), _numbers_need_a_perceptron),
    Rule(("augment.kind", "data.kind", "data.image"), _numbers_are_not_augmented),
)
DATA_UNUSED_SETTING_RULES = (
    UnusedSettingRule(
        "data.image_size",
        ("data.kind", "data.image"),
        lambda config: not _has_numbers(config),
        "set data.image: the column with the images' paths",
    ),
    *(
        UnusedSettingRule(f"data.{name}", ("data.kind", "data.image"), _has_numbers, "leave data.image out")
        for name in ("categorical", "ignore", "missing")
    ),
)
