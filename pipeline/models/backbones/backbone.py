"""A backbone: the body of a timm model, and a head of ours in the place of its classifier.

timm takes seconds to import, so only who builds a backbone imports this module.
"""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pipeline.config.model import BackboneConfig, HeadConfig
from pipeline.models.backbones.cut import split
from pipeline.models.backbones.stages import (
    check_stages,
    drop_top_stages,
    num_features,
    num_stages,
    set_trainable,
    stage_of_parameters,
)
from pipeline.models.backbones.weights import InputSpec, create_body, input_spec
from pipeline.models.layers import build_layers
from pipeline.models.state import frozen_fingerprint, keep_frozen_in_evaluation


class Backbone(nn.Module):
    """A body from images to pooled features, and a head from those to logits.

    In training mode what is frozen stays in evaluation mode: its normalization keeps its statistics, and drops nothing.

    Args:
        body: From images (batch, channels, height, width) to features (batch, features).
        head: From features to logits (batch, classes).
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def train(self, mode: bool = True) -> "Backbone":
        """Sets the mode of what is not frozen."""
        super().train(mode)
        if mode:
            keep_frozen_in_evaluation(self)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns logits.

        Args:
            inputs: Prepared images, (batch, channels, height, width), or what enters the body's first layer that is
                left, (batch, ...).

        Returns:
            Logits, (batch, classes).
        """
        logits: Tensor = self.head(self.body(inputs))
        return logits


def build_backbone(
    config: BackboneConfig, *, channels: int, num_classes: int, device: torch.device, is_shared: bool = False
) -> Backbone:
    """Builds a backbone; PyTorch's global generator decides the weights of the head, and of a body without any.

    Args:
        config: Its description.
        channels: Channels of the images.
        num_classes: Number of classes.
        device: Where to.
        is_shared: Whether the body will never be trained: one with pretrained weights is then the same object for all
            backbones of a process, and costs nothing to make.

    Raises:
        ModelError: There is no such model, its weights cannot be loaded, or its stages cannot be cut.
    """
    if config.pretrained is False:
        body = _build_body(config, channels)
    else:
        any_head = config.model_copy(update={"head": HeadConfig()})
        body = _loaded_body(any_head, _modified(config.pretrained))
        if not is_shared:
            body = copy.deepcopy(body)
    head = build_layers(config.head, num_inputs=num_features(body), num_classes=num_classes)
    return Backbone(body, head).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def image_size(config: BackboneConfig) -> int:
    """Returns the height and width in pixels that images are brought to."""
    return config.image_size or input_spec(config.name).size


def standardization(config: BackboneConfig) -> InputSpec | None:
    """Returns what images the weights were trained with; None for a network without any."""
    return None if config.pretrained is False else input_spec(config.name)


def train_top_stages(network: Backbone, top_stages: int | None) -> None:
    """Makes the head and the body's top stages trainable, and nothing else.

    Args:
        network: The backbone.
        top_stages: How many; None for the whole body.

    Raises:
        ModelError: The body has fewer stages.
    """
    network.head.requires_grad_(True)
    if top_stages is None:
        network.body.requires_grad_(True)
    else:
        set_trainable(network.body, top_stages)


def rate_factors(network: Backbone, *, lr_factor: float, layer_decay: float) -> dict[str, float]:
    """Returns the share of the learning rate of each of the body's parameters, by name; the head's is 1.

    Args:
        network: The backbone.
        lr_factor: The top stage's.
        layer_decay: What it is multiplied with for each stage further down (Howard and Ruder, ACL 2018).
    """
    if layer_decay == 1.0:
        return {f"body.{name}": lr_factor for name, _ in network.body.named_parameters()}
    stages = stage_of_parameters(network.body)
    top = max(stages.values())
    return {f"body.{name}": lr_factor * layer_decay ** (top - stage) for name, stage in stages.items()}


class Halves(NamedTuple):
    """A backbone in two at the boundary between frozen and trained layers; both share its tensors.

    Attributes:
        below: From prepared images to what the frozen layers give.
        above: From that to logits.
        fingerprint: What tells the frozen layers' weights from others.
        shape: Of what they give for one image.
    """

    below: nn.Module
    above: nn.Module
    fingerprint: str
    shape: tuple[int, ...]


def cut(network: Backbone, top_stages: int, example: Tensor) -> Halves:
    """Cuts a backbone at the boundary between frozen and trained layers; see `pipeline.models.backbones.cut.split`.

    Args:
        network: The backbone; its lower stages are frozen.
        top_stages: The body's stages above the cut.
        example: A few prepared images, (batch, channels, height, width).

    Raises:
        CannotSplitError: This body cannot be cut there.
    """
    if top_stages == 0:
        below, fingerprint, shape = _whole_body(network.body, example)
        return Halves(below, network.head, fingerprint, shape)
    below, suffix = split(network.body, top_stages, example)
    return Halves(below, Backbone(suffix, network.head), frozen_fingerprint(network), tuple(below(example).shape[1:]))


# Of shared bodies: what is below a cut above all of them, its fingerprint, and the shape of its output.
_WHOLE_BODIES: "WeakKeyDictionary[nn.Module, tuple[nn.Module, str, tuple[int, ...]]]" = WeakKeyDictionary()


def _whole_body(body: nn.Module, example: Tensor) -> tuple[nn.Module, str, tuple[int, ...]]:
    if body not in _WHOLE_BODIES:
        below, _ = split(body, 0, example)
        _WHOLE_BODIES[body] = below, frozen_fingerprint(body), tuple(below(example).shape[1:])
    return _WHOLE_BODIES[body]


def check_backbones(configs: Sequence[BackboneConfig], unfrozen: int) -> None:
    """Proves, before a study's first trial, that its backbones can be had.

    Args:
        configs: What the study may draw.
        unfrozen: The most top stages that it may train.

    Raises:
        ModelError: One cannot be built, or has too few stages.
    """
    for config in configs:
        network = build_backbone(config, channels=3, num_classes=2, device=torch.device("cpu"))
        if unfrozen > 0:
            check_stages(config, num_stages(network.body), unfrozen)


@functools.lru_cache(maxsize=2)
def _loaded_body(config: BackboneConfig, _changed_at: float | None) -> nn.Module:
    """Returns a body with its weights, to be copied: a trial of a cached study takes less time than to load them."""
    return _build_body(config, channels=3)


def _modified(pretrained: bool | str) -> float | None:
    """Returns when a file of weights was changed: a new one is read."""
    path = Path(pretrained).expanduser() if isinstance(pretrained, str) else None
    return path.stat().st_mtime if path is not None and path.is_file() else None


def _build_body(config: BackboneConfig, channels: int) -> nn.Module:
    body = create_body(
        config.name,
        pretrained=config.pretrained,
        image_size=image_size(config),
        in_channels=channels,
        drop_path=config.drop_path,
    )
    drop_top_stages(body, config.drop_top_stages)
    return body
