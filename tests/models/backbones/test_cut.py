"""A body in two computes the same to the bit, and training the upper part trains the body."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.backbones import cut, stages
from tests.models.bodies import BOUNDARIES, SOME, SOME_INNER, Toy, new_body, snapshot, train


@pytest.mark.parametrize(("name", "top"), BOUNDARIES)
def test_in_two_parts_it_computes_the_same_to_the_bit(top: int, body: nn.Module, images: Tensor) -> None:
    before = snapshot(body)
    prefix, suffix = cut.split(body, top, images)
    suffix.eval(), body.eval()
    for batch in (torch.randn(1, 3, 32, 32), torch.randn(5, 3, 32, 32)):
        features = prefix(batch)
        assert len(features) == len(batch)
        assert features.is_contiguous()
        assert not features.requires_grad
        assert torch.equal(suffix(features), body(batch))
    after = snapshot(body)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("name", "top"), SOME_INNER)
def test_to_train_the_suffix_is_to_train_the_body(name: str, top: int, images: Tensor) -> None:
    """Steps on cached features leave the body as the same steps on images leave its twin, buffers too."""
    twin, body = new_body(name), new_body(name)
    stages.set_trainable(twin, top)
    stages.set_trainable(body, top)
    prefix, suffix = cut.split(body, top, images)
    suffix.__dict__["num_features"] = stages.num_features(body)
    for module, inputs in ((twin, images), (suffix, prefix(images))):
        torch.manual_seed(2)
        train(module, inputs)
    expected, trained = snapshot(twin), snapshot(body)
    for tensor in expected:
        assert torch.equal(trained[tensor], expected[tensor]), tensor


@pytest.mark.parametrize(("name", "top"), SOME)
def test_the_parts_share_the_bodys_tensors(top: int, body: nn.Module, images: Tensor) -> None:
    staged, total = stages.stage_of_parameters(body), stages.num_stages(body)
    prefix, suffix = cut.split(body, top, images)
    tensors = {id(tensor): name for name, tensor in itertools.chain(body.named_parameters(), body.named_buffers())}
    for part in (prefix, suffix):
        assert all(id(tensor) in tensors for tensor in itertools.chain(part.parameters(), part.buffers()))
    in_suffix = {tensors[id(parameter)] for parameter in suffix.parameters()}
    assert {name for name, stage in staged.items() if stage >= total - top} <= in_suffix
    # Below the cut, the suffix has no more than tokens that the body itself holds.
    assert all("." not in name for name in in_suffix if staged[name] < total - top)


@pytest.mark.parametrize(("name", "top"), SOME)
def test_each_part_computes_its_stages_alone(top: int, body: nn.Module, images: Tensor) -> None:
    staged, total = stages.stage_of_parameters(body), stages.num_stages(body)
    stage_of = {id(parameter): staged[name] for name, parameter in body.named_parameters()}
    prefix, suffix = cut.split(body, top, images)
    called: dict[nn.Module, set[int]] = {prefix: set(), suffix: set()}
    for half, seen in called.items():
        for module in half.modules():
            own = {stage_of[id(parameter)] for parameter in module.parameters(recurse=False)}
            if not list(module.children()):
                module.register_forward_hook(lambda *_, seen=seen, own=own: seen.update(own))
    suffix(prefix(images))
    assert called[prefix] == set(range(total - top))
    assert called[suffix] == set(range(total - top, total))


@pytest.mark.parametrize("name", ["resnet18"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("top", range(6))
def test_split_leaves_modes_and_flags(top: int, training: bool, body: nn.Module, images: Tensor) -> None:
    body.train(training)
    body.bn1.eval()
    stages.set_trainable(body, 3)
    modes = [module.training for module in body.modules()]
    prefix, suffix = cut.split(body, top, images)
    assert [module.training for module in body.modules()] == modes
    stages.set_trainable(body, 3)
    assert not body.conv1.weight.requires_grad
    assert body.get_parameter("layer4.0.conv1.weight").requires_grad
    if 0 < top < 5:
        assert suffix.training == training
    if top < 5:
        assert not any(module.training for module in prefix.train().modules())


class _SkipsTheCut(Toy):
    def forward(self, x: Tensor) -> Tensor:
        below = self.lower(x)
        # With a gain of zero, the skip changes nothing, yet.
        return self.upper(below) + self.gain * below


class _TrainsBelowTheCut(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x) + self.gain)


class _SeesTwoTensors(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.upper = _Pair()

    def forward(self, x: Tensor) -> Tensor:
        return self.upper([self.lower(x), x])


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, pair: list[Tensor]) -> Tensor:
        return self.linear(pair[0]) + pair[1]


class _Writes(Toy):
    def __init__(self) -> None:
        super().__init__()
        first = nn.ReLU(inplace=True)
        first.register_parameter("weight", nn.Parameter(torch.zeros(())))
        self.upper = nn.Sequential(first, nn.Linear(4, 4))


class _ReadsAWeight(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x)) @ self.lower.weight


class _CallsTwice(Toy):
    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.get_parameter("upper.weight"))

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.upper(self.lower(x)) + 1.0)


def test_a_toy_is_cut() -> None:
    body, images = Toy(), torch.randn(3, 4)
    prefix, suffix = cut.split(body, 1, images)
    assert torch.equal(prefix(images), body.lower(images))
    assert torch.equal(suffix(prefix(images)), body(images))
    assert "Linear" in repr(suffix)


class _Transposes(Toy):
    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x).transpose(1, 2)).sum(1)


def test_features_lie_in_memory_as_in_the_body() -> None:
    """Another layout may take another kernel, which sums in another order."""
    body, images = _Transposes(), torch.randn(3, 4, 4)
    prefix, suffix = cut.split(body, 1, images)
    seen = []
    for upper in (body.upper, suffix.body.upper):
        upper.register_forward_hook(lambda _, inputs, __: seen.append((inputs[0].shape, inputs[0].stride())))
    features = prefix(images)
    assert features.is_contiguous()
    assert torch.equal(suffix(features), body(images))
    assert seen[0] == seen[1] == ((3, 4, 4), (16, 1, 4))


def test_a_module_called_twice_gets_the_features_once() -> None:
    body, images = _CallsTwice(), torch.randn(3, 4)
    prefix, suffix = cut.split(body, 1, images)
    nn.init.ones_(body.get_parameter("upper.weight"))
    assert torch.equal(suffix(prefix(images)), body(images))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_SkipsTheCut, "does not compute the same"),
        (_TrainsBelowTheCut, "depends on parameters of the stages above"),
        (_SeesTwoTensors, "not one tensor with a row for each image"),
        (_Writes, "writes into the features"),
        (_ReadsAWeight, "more is needed than the features"),
    ],
)
def test_what_cannot_be_cut_says_why(make: type[Toy], reason: str) -> None:
    body = make()
    stages.set_trainable(body, 2)
    with pytest.raises(cut.CannotSplitError, match=reason):
        cut.split(body, 1, torch.randn(3, 4))
    assert all(parameter.requires_grad for parameter in body.parameters())
    for module in body.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
