"""Network bodies for the tests: five networks of different make, a toy, and their weights in files."""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.models import state
from pipeline.models.backbones import stages
from pipeline.models.backbones.weights import create_body, input_spec

# From a network to the number of its stages.
NETWORKS = {
    "resnet18": 5,
    "mobilenetv3_small_050": 5,
    "tf_efficientnet_lite0": 5,
    "convnext_atto": 4,
    "vit_tiny_patch16_224": 12,
}
BOUNDARIES = [(name, top) for name, total in NETWORKS.items() for top in range(total + 1)]
# A vision transformer's blocks are all alike.
SOME = [(name, top) for name, top in BOUNDARIES if "vit" not in name or top in (0, 1, 6, 11, 12)]
SOME_INNER = [(name, top) for name, top in SOME if 0 < top < NETWORKS[name]]


@functools.cache
def _made(name: str) -> nn.Module:
    torch.manual_seed(1)
    body = (
        timm.create_model(name, num_classes=0, img_size=32) if "vit" in name else timm.create_model(name, num_classes=0)
    )
    body.train()(torch.randn(4, 3, 32, 32))
    return body


def new_body(name: str) -> nn.Module:
    """A new body, always the same, whose batch normalization has moving statistics that are not the first ones."""
    return copy.deepcopy(_made(name))


def train(body: nn.Module, images: Tensor, steps: int = 2) -> None:
    """Takes steps with a linear head of two classes, in training mode where something trains."""
    head = nn.Linear(stages.num_features(body), 2)
    trainable = [parameter for parameter in body.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD([*trainable, *head.parameters()], lr=0.01, momentum=0.9, weight_decay=0.1)
    for _ in range(steps):
        body.train()
        state.keep_frozen_in_evaluation(body)
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(body(images)), torch.arange(len(images)) % 2).backward()
        optimizer.step()


def snapshot(body: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in itertools.chain(body.named_parameters(), body.named_buffers())}


def stage_of_buffers(body: nn.Module) -> Iterator[tuple[str, int]]:
    """The stage of each buffer is that of the parameters beside it."""
    by_module = {name.rpartition(".")[0]: stage for name, stage in stages.stage_of_parameters(body).items()}
    return ((name, by_module[name.rpartition(".")[0]]) for name, _ in body.named_buffers())


class Toy(nn.Module):
    """Two stages of a linear layer each; a subclass breaks what a cut needs."""

    middle: nn.Module
    upper: nn.Module
    prune_intermediate_layers: Callable[..., object] | None
    reset_classifier: Callable[..., object]

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Linear(4, 4), nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.zeros(()))
        self.num_features = 4
        self.feature_info = [{"module": "lower", "num_chs": 4}, {"module": "upper", "num_chs": 4}]

    def group_matcher(self, *_: object, **__: object) -> dict[str, str]:
        return {"lower": r"lower", "upper": r"upper|gain"}

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x)) * (1.0 + self.gain)


def saved(model: nn.Module, file: Path, wrap: Any = lambda tensors: tensors) -> str:
    """Writes a model's tensors as the file's name says."""
    if file.suffix == ".safetensors":
        save_file(model.state_dict(), file)
    else:
        torch.save(wrap(model.state_dict()), file)
    return str(file)


def check_weights(name: str, pretrained: bool | str) -> None:
    create_body(name, pretrained=pretrained, image_size=input_spec(name).size)


def equal(body: nn.Module, tensors: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[name]) for name, tensor in body.state_dict().items())
