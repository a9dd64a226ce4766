"""A network from its configuration and tensors, without the weights that it was once trained from."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.config.cnn import CnnConfig
from pipeline.config.model import BackboneConfig, MlpConfig, ModelBlock, layers_by_path, top_layers
from pipeline.config.transfer import Auto
from pipeline.config.trial import TrialConfig
from pipeline.export.errors import ExportError
from pipeline.models.build import build_model


class Network(NamedTuple):
    """A network, and its description: the configured one, but where the ladder (`transfer: auto`) has changed it."""

    module: nn.Module
    model: ModelBlock


def build_network(
    config: TrialConfig,
    tensors: Mapping[str, Tensor],
    *,
    image_shape: tuple[int, int, int],
    channels: int,
    num_classes: int,
) -> Network:
    """Builds the network that the tensors belong to, on the processor and in evaluation mode.

    Args:
        config: What was trained.
        tensors: All parameters and buffers, by name.
        image_shape: (channels, height, width), as the data set holds images.
        channels: Channels of prepared images.
        num_classes: Number of classes.

    Raises:
        ExportError: The configuration describes another network, or a tensor is not finite.
        ModelError: It cannot be built.
    """
    _check_finite(tensors)
    wanted = _described(tensors)
    # Whoever calls is perhaps about to draw numbers of its own.
    with torch.random.fork_rng(devices=[]):
        for model in _candidates(config, tensors):
            if not _may_have_come_of(model, tensors, image_shape, num_classes):
                continue
            network = _build(model, image_shape, channels, num_classes)
            if _described(network.state_dict()) == wanted:
                network.load_state_dict(dict(tensors), strict=True)
                return Network(network.eval(), model)
    raise ExportError(
        f"the weights must be those of the network in the configuration ({config.model.kind}); their names, shapes or "
        "types are others. Give the configuration that the model was trained with"
    )


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        wrong = "NaN or infinity" if not tensor.isfinite().all() else ""
        if name.endswith("running_var") and (tensor < 0.0).any():
            wrong = "a negative variance"
        if wrong:
            raise ExportError(f"weights and statistics must be finite; {name} has {wrong}. Train the model again")


def _described(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _may_have_come_of(
    model: ModelBlock,
    tensors: Mapping[str, Tensor],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> bool:
    """Returns whether tensors are enough for a network: before it is built, for it may be described as any size."""
    if (layers := top_layers(model)) is None:
        return True
    if any(each.num_layers > len(tensors) for each in layers_by_path(model).values()):
        return False
    channels, height, width = image_shape
    inputs, kernels = 1, 0
    if isinstance(model, MlpConfig):
        inputs = math.prod(image_shape)
    elif isinstance(model, CnnConfig):
        inputs, kernels = model.num_features(height, width), model.num_kernel_weights(channels)
    matrices = sum(before * after for before, after in itertools.pairwise((inputs, *layers.widths, num_classes)))
    return kernels + matrices <= sum(tensor.numel() for tensor in tensors.values())


def _build(model: ModelBlock, image_shape: tuple[int, int, int], channels: int, num_classes: int) -> nn.Module:
    if isinstance(model, BackboneConfig):
        model = model.model_copy(update={"pretrained": False})
    return build_model(model, image_shape=(channels, *image_shape[1:]), num_classes=num_classes)


def _candidates(config: TrialConfig, tensors: Mapping[str, Tensor]) -> Iterator[ModelBlock]:
    """Yields the configured network, and those that the ladder may have made of it."""
    model = config.model
    yield model
    if not isinstance(config.transfer, Auto):
        return
    assert isinstance(model, BackboneConfig)
    matrices = [name for name, tensor in tensors.items() if name.startswith("head.") and tensor.ndim == 2]
    if (layers := len(matrices) - 1) > model.head.hidden_layers:
        width = model.head.width
        if not isinstance(width, int):
            width = (*width, *(width[-1:] * (layers - len(width))))
        head = model.head.model_copy(update={"hidden_layers": layers, "width": width})
        yield model.model_copy(update={"head": head})
        return
    from pipeline.models.backbones.backbone import build_backbone
    from pipeline.models.backbones.stages import num_stages

    untrained = model.model_copy(update={"pretrained": False})
    whole = build_backbone(untrained, channels=3, num_classes=2, device=torch.device("cpu"))
    for dropped in range(1, num_stages(whole.body)):
        yield model.model_copy(update={"drop_top_stages": model.drop_top_stages + dropped})
