"""A network from its configuration and tensors, without the weights that it was once trained from."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.config import TrialConfig
from pipeline.export.errors import ExportError
from pipeline.model_config import BackboneConfig, MlpConfig
from pipeline.models import build_mlp
from pipeline.transfer_config import Auto


class Network(NamedTuple):
    """A network, and its description: the configured one, but where the ladder (`transfer: auto`) has changed it."""

    module: nn.Module
    model: MlpConfig | BackboneConfig


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
        ExportError: The configuration describes another network.
        ModelError: It cannot be built.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    # Whoever calls is perhaps about to draw numbers of its own.
    with torch.random.fork_rng(devices=[]):
        for model in _candidates(config, tensors):
            network = _build(model, image_shape, channels, num_classes)
            if {name: tensor.shape for name, tensor in network.state_dict().items()} == shapes:
                network.load_state_dict(dict(tensors), strict=True)
                return Network(network.eval(), model)
    raise ExportError(
        f"the weights must be those of the network in the configuration ({config.model.kind}); their names or shapes "
        "are others. Give the configuration that the model was trained with"
    )


def _build(
    model: MlpConfig | BackboneConfig, image_shape: tuple[int, int, int], channels: int, num_classes: int
) -> nn.Module:
    if isinstance(model, MlpConfig):
        return build_mlp(model, image_shape=image_shape, num_classes=num_classes)
    from pipeline.models.backbone import build_backbone

    untrained = model.model_copy(update={"pretrained": False})
    return build_backbone(untrained, channels=channels, num_classes=num_classes, device=torch.device("cpu"))


def _candidates(config: TrialConfig, tensors: Mapping[str, Tensor]) -> Iterator[MlpConfig | BackboneConfig]:
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
    from pipeline.models.backbone import build_backbone
    from pipeline.models.stages import num_stages

    untrained = model.model_copy(update={"pretrained": False})
    whole = build_backbone(untrained, channels=3, num_classes=2, device=torch.device("cpu"))
    for dropped in range(1, num_stages(whole.body)):
        yield model.model_copy(update={"drop_top_stages": model.drop_top_stages + dropped})
