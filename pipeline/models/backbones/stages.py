"""The stages of a timm network: which parameters are in which, to freeze them, to drop them.

A body is any timm classification model made with ``num_classes=0``: from images (batch, channels, height, width) to
pooled features (batch, features). It has one stage for each entry of its ``feature_info``, 0 the lowest.
"""

import itertools
from typing import Any, Literal

from torch import nn

from pipeline.config.model import BackboneConfig
from pipeline.core.errors import ModelError

# What timm raises where a family has not got what it is asked for.
_REFUSALS = (AssertionError, NotImplementedError, TypeError)


def num_stages(body: nn.Module) -> int:
    """Returns the number of stages.

    Raises:
        ModelError: The body tells nothing of its stages.
    """
    return len(_feature_info(body))


def stage_of_parameters(body: nn.Module) -> dict[str, int]:
    """Returns the stage of each parameter by its name, in the order of ``body.named_parameters()``.

    timm's ``group_matcher`` orders all parameters from the input to the output, but in groups of uneven size (a block
    here, all that follows the blocks there); ``feature_info`` names the module that ends each stage. A parameter is in
    the first stage whose end does not come before its group: the stem is in the first, and a final normalization or
    convolution in the last.

    Raises:
        ModelError: The body tells nothing of its stages, or not their order.
    """
    # To import timm costs seconds, and whoever holds a body has paid them.
    from timm.models import group_parameters

    if not hasattr(body, "group_matcher"):
        raise _not_staged(body, "it has no group_matcher")
    try:
        groups: dict[str, int] = group_parameters(body, body.group_matcher(coarse=True), reverse=True)  # type: ignore[operator]
    except _REFUSALS as error:
        raise _not_staged(body, f"timm refuses to ({error})") from error
    ends = [_end(body, str(entry["module"]), groups) for entry in _feature_info(body)]
    if any(above <= below for below, above in itertools.pairwise(ends)):
        raise _not_staged(body, f"its stages end at the groups {ends} of its parameters, which do not rise")
    last = len(ends) - 1
    return {
        name: next((stage for stage, end in enumerate(ends) if groups[name] <= end), last)
        for name, _ in body.named_parameters()
    }


def check_stages(config: BackboneConfig, stages: int, unfrozen: int | Literal["all"]) -> None:
    """Proves that a backbone has as many stages as are to be unfrozen.

    Raises:
        ModelError: It has fewer.
    """
    if unfrozen != "all" and unfrozen > stages:
        dropped = f" without the {config.drop_top_stages} that are dropped" if config.drop_top_stages else ""
        raise ModelError(
            f"transfer.unfreeze_top_stages: {config.name} has {stages} stages{dropped}; got {unfrozen}. "
            "Lower it, or set all"
        )


def drop_top_stages(body: nn.Module, count: int) -> None:
    """Removes the top stages in place, and whatever follows them; the features left are averaged over positions.

    The weights must have been loaded before. After a `ModelError` the body is of no use.

    Args:
        body: The network body.
        count: Stages to remove; one at least must remain.

    Raises:
        ModelError: There are not that many stages, or timm cannot cut this body there.
    """
    if count == 0:
        return
    total = num_stages(body)
    if not 0 <= count < total:
        raise ModelError(
            f"{_architecture(body)} has {total} stages, of which one must remain: drop 0 to {total - 1}; got {count}"
        )
    if not hasattr(body, "prune_intermediate_layers"):
        raise _not_droppable(body, "it has no prune_intermediate_layers")
    stages = stage_of_parameters(body)
    try:
        body.prune_intermediate_layers([-1 - count], prune_norm=True, prune_head=True)  # type: ignore[operator]
        body.reset_classifier(0, global_pool="avg")  # type: ignore[operator]
    except _REFUSALS as error:
        raise _not_droppable(body, f"timm refuses to ({error})") from error
    body.feature_info = _feature_info(body)[: total - count]  # type: ignore[assignment]
    _check_drop(body, stages, total - count)


def _check_drop(body: nn.Module, stages: dict[str, int], kept: int) -> None:
    left = {name for name, _ in body.named_parameters()}
    # Within the last group of the highest stage kept, timm may cut; a class token goes with the stages that read it.
    wrong = [name for name in stages.keys() - left if stages[name] < kept - 1 and "." in name]
    if wrong:
        raise _not_droppable(body, f"timm would remove {min(wrong)} too")
    for stage in set(stages.values()):
        names = {name for name in stages if stages[name] == stage}
        if stage < kept and not names & left:
            raise _not_droppable(body, f"timm would remove stage {stage} too, counted from 0")
        if stage >= kept and names <= left:
            raise _not_droppable(body, f"timm would leave stage {stage}, counted from 0")


def num_features(body: nn.Module) -> int:
    """Returns the width of the pooled features."""
    return int(getattr(body, "head_hidden_size", None) or body.num_features)  # type: ignore[arg-type]


def set_trainable(body: nn.Module, top_stages: int) -> None:
    """Makes the parameters of the top stages trainable, and no other.

    Args:
        body: The network body.
        top_stages: Stages to train; 0 for none.

    Raises:
        ModelError: There are not that many stages, or the body tells nothing of them.
    """
    top = top_parameters(body, top_stages)
    body.requires_grad_(False)
    for parameter in top:
        parameter.requires_grad_()


def top_parameters(body: nn.Module, top_stages: int) -> list[nn.Parameter]:
    """Returns the parameters of the top stages.

    Raises:
        ModelError: There are not that many stages, or the body tells nothing of them.
    """
    if top_stages == 0:
        return []
    total = num_stages(body)
    if not 0 <= top_stages <= total:
        raise ModelError(f"{_architecture(body)} has {total} stages: train 0 to {total} of them; got {top_stages}")
    if top_stages == total:
        return list(body.parameters())
    stages = stage_of_parameters(body)
    return [parameter for name, parameter in body.named_parameters() if stages[name] >= total - top_stages]


def _feature_info(body: nn.Module) -> list[dict[str, Any]]:
    info = getattr(body, "feature_info", None)
    if not info:
        raise _not_staged(body, "it has no feature_info", remedy="train none of it")
    return list(info)


def _end(body: nn.Module, end: str, groups: dict[str, int]) -> int:
    """Returns the last group in the module that ends a stage; if it has no parameters, the last one before it."""
    inside = [group for name, group in groups.items() if name.startswith(f"{end}.")]
    if inside:
        return max(inside)
    before = itertools.takewhile(lambda named: named[0] != end, body.named_modules())
    own = (
        f"{name}.{tensor}".lstrip(".")
        for name, module in before
        for tensor, _ in module.named_parameters(recurse=False)
    )
    return max((groups[name] for name in own if name in groups), default=-1)


def _architecture(body: nn.Module) -> str:
    return str(getattr(body, "default_cfg", {}).get("architecture") or type(body).__name__)


def _not_staged(body: nn.Module, reason: str, remedy: str = "train all of it or none of it") -> ModelError:
    return ModelError(
        f"{_architecture(body)} cannot be divided into stages: {reason}. "
        f"Take another backbone, or {remedy}, and drop no stage"
    )


def _not_droppable(body: nn.Module, reason: str) -> ModelError:
    return ModelError(
        f"the top stages of {_architecture(body)} cannot be dropped: {reason}. Drop none, or take another backbone"
    )
