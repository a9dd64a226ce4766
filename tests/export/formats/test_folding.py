"""Folding: everything that can be, and the output stays."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.export.formats.folding import fold_batch_norm
from pipeline.models.dropout import TestScaledDropout


class Residual(nn.Module):
    """What normalization takes is taken by another, too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.last = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, values: Tensor) -> Tensor:
        below = self.linear(values)
        normalized = self.norm(below)
        logits: Tensor = self.last(torch.relu(normalized)) + below[:, :3]
        return logits


class Shared(nn.Module):
    """One layer, taken with normalization and without."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

    def forward(self, values: Tensor) -> Tensor:
        normalized: Tensor = self.norm(self.linear(values))
        return normalized + self.linear(values)


def dense(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), *between, nn.Linear(5, 3))


FLAT, IMAGES = (4, 6), (4, 3, 8, 8)
# Name, network, shape of its input, how many are folded, and how many left.
CASES: list[tuple[str, nn.Module, tuple[int, ...], int, int]] = [
    ("before", dense(nn.BatchNorm1d(5), nn.ReLU()), FLAT, 1, 0),
    ("before, no bias", nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5)), FLAT, 1, 0),
    ("after", dense(nn.ReLU(), nn.BatchNorm1d(5)), FLAT, 1, 0),
    ("after, dropout", dense(nn.SELU(), nn.BatchNorm1d(5), nn.AlphaDropout(0.3)), FLAT, 1, 0),
    ("after, scaled dropout", dense(nn.ReLU(), nn.BatchNorm1d(5), TestScaledDropout(0.3)), FLAT, 1, 0),
    ("both sides of a layer", nn.Sequential(nn.BatchNorm1d(6), dense(nn.BatchNorm1d(5), nn.ReLU())), FLAT, 2, 0),
    ("without parameters", dense(nn.ReLU(), nn.BatchNorm1d(5, affine=False)), FLAT, 1, 0),
    ("convolution", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, groups=1), nn.BatchNorm2d(4), nn.ReLU()), IMAGES, 1, 0),
    ("depthwise", nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.BatchNorm2d(6)), IMAGES, 1, 0),
    ("padded", nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)), IMAGES, 0, 1),
    ("at the end", nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5)), FLAT, 0, 1),
    ("taken twice", Residual(), FLAT, 0, 1),
    ("shared layer", Shared(), FLAT, 1, 0),
]
IDS = [name for name, *_ in CASES]


@pytest.mark.parametrize(("network", "shape", "folded", "left"), [case[1:] for case in CASES], ids=IDS)
def test_folding_keeps_the_output(network: nn.Module, shape: tuple[int, ...], folded: int, left: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 3.0, generator=generator)
    network.eval()
    values = torch.randn(shape, generator=generator)
    module = torch.export.export(network, (values,)).module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    with torch.no_grad():
        assert fold_batch_norm(module) == (folded, left)
        assert torch.allclose(module(values), network(values), atol=1e-5)
    targets = [str(node.target) for node in module.graph.nodes]
    assert targets.count("aten.batch_norm.default") == left
    # Nothing is kept that nothing needs.
    tensors = {name for name, _ in [*module.named_parameters(), *module.named_buffers()]}
    assert tensors == {node.target for node in module.graph.nodes if node.op == "get_attr"}
