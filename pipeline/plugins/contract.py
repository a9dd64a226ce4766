"""What a plug-in imports: the blocks that its own derive from, and `register`. See `docs/plugins.md`."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.config.kinds import Block, KindBlock
from pipeline.config.loss import LossBlock
from pipeline.config.model import ModelBlock
from pipeline.config.study import PrunerBlock, SamplerBlock
from pipeline.config.training import OptimizerBlock, ScheduleBlock
from pipeline.config.transfer import AnyAugmentation
from pipeline.plugins.loading import register_kind

__all__ = [
    "AnyAugmentation",
    "Block",
    "LossBlock",
    "ModelBlock",
    "OptimizerBlock",
    "PrunerBlock",
    "SamplerBlock",
    "ScheduleBlock",
    "register",
]

Build = TypeVar("Build", bound=Callable[..., Any])


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
