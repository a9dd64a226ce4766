"""What a plug-in imports: the blocks that its own derive from, and `register`. See `docs/plugins.md`."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.config.data import DataBlock
from pipeline.config.kinds import Block, KindBlock
from pipeline.config.loss import LossBlock
from pipeline.config.metrics import Direction
from pipeline.config.model import HeadConfig, ModelBlock
from pipeline.config.study import PrunerBlock, SamplerBlock
from pipeline.config.training import OptimizerBlock, ScheduleBlock
from pipeline.config.transfer import AnyAugmentation as AugmentationKind
from pipeline.plugins.loading import register_kind, register_metric

__all__ = [
    "AugmentationKind",
    "Block",
    "DataBlock",
    "HeadConfig",
    "LossBlock",
    "ModelBlock",
    "OptimizerBlock",
    "PrunerBlock",
    "SamplerBlock",
    "ScheduleBlock",
    "metric",
    "register",
]

Build = TypeVar("Build", bound=Callable[..., Any])


def metric(name: str, *, direction: Direction, description: str) -> Callable[[Build], Build]:
    """Adds a metric of the validation images, which the decorated function builds: from the names of the classes to
    what has the interface of `torchmetrics.Metric`, updated with probabilities (images, classes) and labels (images,).

    Args:
        name: Its name; begins with ``valid_``.
        direction: Which way it improves, ``maximize`` or ``minimize``.
        description: What it is, in a line.

    Raises:
        PluginError: The name is taken or does not begin so, or the function is defined in a notebook or script.
    """

    def decorate(build: Build) -> Build:
        register_metric(name, build, direction=direction, description=description)
        return build

    return decorate


def register(block: type[KindBlock]) -> Callable[[Build], Build]:
    """Adds a kind, which the decorated function builds.

    Args:
        block: Its settings.

    Raises:
        PluginError: The block has no kind of its own, its group has that kind already, or the block is defined in a
            notebook or script, where workers cannot find it.

    Example:
        >>> class Linear(ModelBlock):  # doctest: +SKIP
        ...     kind: Literal["linear"] = "linear"
        >>> @register(Linear)  # doctest: +SKIP
        ... def build(block, input_shape, num_outputs):
        ...     return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_outputs))
    """

    def decorate(build: Build) -> Build:
        register_kind(block, build)
        return build

    return decorate
