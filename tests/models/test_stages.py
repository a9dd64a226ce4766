"""Stages of five networks of different make: freezing, dropping and cutting hold at every boundary."""

import copy
import functools
import itertools
from collections.abc import Iterator

import pytest
import timm
import torch
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models import cut, stages, state

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
    body = timm.create_model(name, num_classes=0, **({"img_size": 32} if "vit" in name else {}))
    body.train()(torch.randn(4, 3, 32, 32))
    return body


def _body(name: str) -> nn.Module:
    """A new body, always the same, whose batch normalization has moving statistics that are not the first ones."""
    return copy.deepcopy(_made(name))


@pytest.fixture
def body(name: str) -> nn.Module:
    return _body(name)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 32, 32)


def _train(body: nn.Module, images: Tensor, steps: int = 2) -> None:
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


def _snapshot(body: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in itertools.chain(body.named_parameters(), body.named_buffers())}


def _stage_of_buffers(body: nn.Module) -> Iterator[tuple[str, int]]:
    """The stage of each buffer is that of the parameters beside it."""
    by_module = {name.rpartition(".")[0]: stage for name, stage in stages.stage_of_parameters(body).items()}
    return ((name, by_module[name.rpartition(".")[0]]) for name, _ in body.named_buffers())


@pytest.mark.parametrize("name", NETWORKS)
def test_each_parameter_has_a_stage_and_each_stage_parameters(name: str, body: nn.Module) -> None:
    staged = stages.stage_of_parameters(body)
    assert stages.num_stages(body) == NETWORKS[name]
    assert list(staged) == [parameter for parameter, _ in body.named_parameters()]
    assert set(staged.values()) == set(range(NETWORKS[name]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", {"conv1.weight": 0, "bn1.bias": 0, "layer1.1.conv2.weight": 1, "layer4.1.bn2.weight": 4}),
        (
            "tf_efficientnet_lite0",
            {"conv_stem.weight": 0, "blocks.0.0.conv_pw.weight": 0, "blocks.1.0.conv_pw.weight": 1}
            | {"blocks.3.0.conv_pw.weight": 3, "blocks.4.0.conv_pw.weight": 3}
            | {"blocks.5.0.conv_pw.weight": 4, "blocks.6.0.conv_pw.weight": 4, "conv_head.weight": 4, "bn2.bias": 4},
        ),
        ("convnext_atto", {"stem.0.weight": 0, "stages.1.downsample.1.weight": 1, "stages.3.blocks.1.norm.bias": 3}),
        (
            "vit_tiny_patch16_224",
            {"cls_token": 0, "pos_embed": 0, "patch_embed.proj.weight": 0, "blocks.0.norm1.weight": 0}
            | {"blocks.1.norm1.weight": 1, "blocks.11.mlp.fc2.bias": 11, "norm.weight": 11},
        ),
    ],
)
def test_stages_by_hand(expected: dict[str, int], body: nn.Module) -> None:
    staged = stages.stage_of_parameters(body)
    assert {parameter: staged[parameter] for parameter in expected} == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stage_is_computed_from_those_below_it(name: str, body: nn.Module, images: Tensor) -> None:
    """In the order in which they are called, modules of a lower stage do not follow those of a higher one."""
    staged, called = stages.stage_of_parameters(body), []
    for module_name, module in body.named_modules():
        own = {staged[f"{module_name}.{tensor}"] for tensor, _ in module.named_parameters(recurse=False) if module_name}
        if own:
            (stage,) = own
            module.register_forward_hook(lambda *_, stage=stage: called.append(stage))
    body(images)
    assert called == sorted(called)


@pytest.mark.parametrize(("name", "top"), SOME)
def test_only_the_top_stages_train(top: int, body: nn.Module, images: Tensor) -> None:
    staged, total = stages.stage_of_parameters(body), stages.num_stages(body)
    stages.set_trainable(body, top)
    assert {name for name, parameter in body.named_parameters() if parameter.requires_grad} == {
        name for name, stage in staged.items() if stage >= total - top
    }
    before = _snapshot(body)
    _train(body, images)
    after = _snapshot(body)
    for name, stage in itertools.chain(staged.items(), _stage_of_buffers(body)):
        assert torch.equal(before[name], after[name]) == (stage < total - top), name


@pytest.mark.parametrize("name", ["resnet18"])
def test_stages_can_be_frozen_again(body: nn.Module) -> None:
    for top in (5, 0, 2, 1):
        stages.set_trainable(body, top)
        assert {name.split(".")[0] for name, parameter in body.named_parameters() if parameter.requires_grad} == set(
            ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"][6 - top - (top == 5) :]
        )


def test_what_has_no_parameters_keeps_its_mode() -> None:
    frozen = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).requires_grad_(False)
    module = nn.Sequential(frozen, nn.Dropout(0.5), nn.Linear(2, 2)).train()
    state.keep_frozen_in_evaluation(module)
    assert {name for name, part in module.named_modules() if part.training} == {"", "1", "2"}


@pytest.mark.parametrize(("name", "top"), BOUNDARIES)
def test_in_two_parts_it_computes_the_same_to_the_bit(top: int, body: nn.Module, images: Tensor) -> None:
    before = _snapshot(body)
    prefix, suffix = cut.split(body, top, images)
    suffix.eval(), body.eval()
    for batch in (torch.randn(1, 3, 32, 32), torch.randn(5, 3, 32, 32)):
        features = prefix(batch)
        assert len(features) == len(batch)
        assert features.is_contiguous()
        assert not features.requires_grad
        assert torch.equal(suffix(features), body(batch))
    after = _snapshot(body)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("name", "top"), SOME_INNER)
def test_to_train_the_suffix_is_to_train_the_body(name: str, top: int, images: Tensor) -> None:
    """Steps on cached features leave the body as the same steps on images leave its twin, buffers too."""
    twin, body = _body(name), _body(name)
    stages.set_trainable(twin, top)
    stages.set_trainable(body, top)
    prefix, suffix = cut.split(body, top, images)
    suffix.num_features = stages.num_features(body)
    for module, inputs in ((twin, images), (suffix, prefix(images))):
        torch.manual_seed(2)
        _train(module, inputs)
    expected, trained = _snapshot(twin), _snapshot(body)
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
    assert body.layer4[0].conv1.weight.requires_grad
    if 0 < top < 5:
        assert suffix.training == training
    if top < 5:
        assert not any(module.training for module in prefix.train().modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_dropped_stages_are_gone(name: str, images: Tensor) -> None:
    sizes = []
    for count in range(NETWORKS[name]):
        body = _body(name)
        staged = stages.stage_of_parameters(body)
        stages.drop_top_stages(body, count)
        left = NETWORKS[name] - count
        assert stages.num_stages(body) == left
        assert stages.stage_of_parameters(body) == {name: stage for name, stage in staged.items() if stage < left}
        assert body(images).shape == (3, stages.num_features(body))
        sizes.append(sum(parameter.numel() for parameter in body.parameters()))
    assert sizes == sorted(set(sizes), reverse=True)


class _Toy(nn.Module):
    """Two stages of a linear layer each; a subclass breaks what a cut needs."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Linear(4, 4), nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.zeros(()))
        self.num_features = 4
        self.feature_info = [{"module": "lower", "num_chs": 4}, {"module": "upper", "num_chs": 4}]

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"lower": r"lower", "upper": r"upper|gain"}

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x)) * (1.0 + self.gain)


class _SkipsTheCut(_Toy):
    def forward(self, x: Tensor) -> Tensor:
        below = self.lower(x)
        # With a gain of zero, the skip changes nothing, yet.
        return self.upper(below) + self.gain * below


class _TrainsBelowTheCut(_Toy):
    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x) + self.gain)


class _SeesTwoTensors(_Toy):
    def __init__(self) -> None:
        super().__init__()
        self.upper = _Pair()

    def forward(self, x: Tensor) -> Tensor:
        return self.upper([self.lower(x), x])


class _Pair(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 4)

    def forward(self, pair: list[Tensor]) -> Tensor:
        return super().forward(pair[0]) + pair[1]


class _Writes(_Toy):
    def __init__(self) -> None:
        super().__init__()
        self.upper = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))
        self.upper[0].weight = nn.Parameter(torch.zeros(()))


class _ReadsAWeight(_Toy):
    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x)) @ self.lower.weight


class _CallsTwice(_Toy):
    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.upper.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.upper(self.lower(x)) + 1.0)


def test_a_toy_is_cut() -> None:
    body, images = _Toy(), torch.randn(3, 4)
    prefix, suffix = cut.split(body, 1, images)
    assert torch.equal(prefix(images), body.lower(images))
    assert torch.equal(suffix(prefix(images)), body(images))
    assert "Linear" in repr(suffix)


class _Transposes(_Toy):
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
    nn.init.ones_(body.upper.weight)
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
def test_what_cannot_be_cut_says_why(make: type[_Toy], reason: str) -> None:
    body = make()
    stages.set_trainable(body, 2)
    with pytest.raises(cut.CannotSplitError, match=reason):
        cut.split(body, 1, torch.randn(3, 4))
    assert all(parameter.requires_grad for parameter in body.parameters())
    for module in body.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks


@pytest.mark.parametrize("name", ["resnet18"])
@pytest.mark.parametrize("count", [-1, 5, 6])
def test_one_stage_must_remain(count: int, body: nn.Module) -> None:
    with pytest.raises(ModelError, match=rf"resnet18 has 5 stages.*0 to 4.*got {count}"):
        stages.drop_top_stages(body, count)


@pytest.mark.parametrize("name", ["resnet18"])
@pytest.mark.parametrize("top", [-1, 6])
def test_no_more_stages_train_than_there_are(top: int, body: nn.Module, images: Tensor) -> None:
    for refused in (lambda: stages.set_trainable(body, top), lambda: cut.split(body, top, images)):
        with pytest.raises(ModelError, match=rf"resnet18 has 5 stages.*0 to 5.*got {top}"):
            refused()
    assert all(parameter.requires_grad for parameter in body.parameters())


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("feature_info", "_Toy cannot be divided into stages: it has no feature_info.*another backbone"),
        ("group_matcher", "_Toy cannot be divided into stages: it has no group_matcher.*another backbone"),
    ],
)
def test_a_body_must_tell_its_stages(attribute: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = _Toy()
    body.prune_intermediate_layers = None
    monkeypatch.delattr(body if attribute == "feature_info" else _Toy, attribute)
    for refused in (lambda: stages.set_trainable(body, 1), lambda: stages.drop_top_stages(body, 1)):
        with pytest.raises(ModelError, match=message):
            refused()
    stages.set_trainable(body, 0)
    stages.drop_top_stages(body, 0)
    assert not any(parameter.requires_grad for parameter in body.parameters())


def test_stages_that_do_not_rise_are_refused() -> None:
    body = _Toy()
    body.feature_info = body.feature_info[::-1]
    with pytest.raises(ModelError, match=r"its stages end at the groups \[1, 0\]"):
        stages.stage_of_parameters(body)


@pytest.mark.parametrize(
    ("pruned", "message"),
    [
        (None, "has no prune_intermediate_layers"),
        (["lower"], "would remove stage 0 too"),
        ([], "would leave stage 1"),
    ],
)
def test_what_cannot_be_dropped_says_why(pruned: list[str] | None, message: str) -> None:
    body = _Toy()
    if pruned is not None:
        body.prune_intermediate_layers = lambda *_, **__: [delattr(body, part) for part in pruned]
        body.reset_classifier = lambda *_, **__: None
    with pytest.raises(ModelError, match=f"the top stages of _Toy cannot be dropped: .*{message}.*another backbone"):
        stages.drop_top_stages(body, 1)


def test_timms_refusal_is_passed_on() -> None:
    body = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=0, img_size=32, depth=3)
    with pytest.raises(ModelError, match="cannot be dropped: timm refuses"):
        stages.drop_top_stages(body, 1)
