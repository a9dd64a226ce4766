"""A plug-in of the groups that `small_conv` has none of."""

from collections.abc import Callable
from typing import Any, Literal

import optuna
import torch

from pipeline.data.augmentation import Augmentation
from pipeline.plugins.contract import (
    AugmentationKind,
    OptimizerBlock,
    PrunerBlock,
    SamplerBlock,
    ScheduleBlock,
    register,
)


class Adagrad(OptimizerBlock):
    """Duchi et al., JMLR 2011."""

    kind: Literal["adagrad"] = "adagrad"


@register(Adagrad)
def adagrad(_block: Adagrad, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(groups)


class Halved(ScheduleBlock):
    """Half the rate from the middle on."""

    kind: Literal["halved"] = "halved"


@register(Halved)
def halved(_block: Halved, lengths: Any) -> Callable[[int], float]:
    return lambda step: 1.0 if step < lengths.total / 2 else 0.5


class Mirrored(AugmentationKind):
    """Mirrored images."""

    kind: Literal["mirrored"] = "mirrored"


@register(Mirrored)
def mirrored(_block: Mirrored, _num_classes: int) -> Augmentation:
    return Augmentation(crop_padding=0.0, flip=True, group_transform=None, erase=0.0, mixers=())


class Plain(SamplerBlock):
    """Independent draws."""

    kind: Literal["plain"] = "plain"


@register(Plain)
def plain(_block: Plain, _study_seed: int, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


class Never(PrunerBlock):
    """Prunes nothing."""

    kind: Literal["never"] = "never"


@register(Never)
def never(_block: Never, _max_epochs: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.NopPruner()
