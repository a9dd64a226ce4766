"""Stages of five networks of different make: freezing and dropping hold at every boundary."""

import itertools

import pytest
import timm
import torch
from torch import Tensor, nn

from pipeline.core.errors import ModelError
from pipeline.models import state
from pipeline.models.backbones import cut, stages
from tests.models.bodies import NETWORKS, SOME, Toy, new_body, snapshot, stage_of_buffers, train


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
def test_a_stage_is_computed_from_those_below_it(body: nn.Module, images: Tensor) -> None:
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
    before = snapshot(body)
    train(body, images)
    after = snapshot(body)
    for name, stage in itertools.chain(staged.items(), stage_of_buffers(body)):
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


@pytest.mark.parametrize("name", NETWORKS)
def test_dropped_stages_are_gone(name: str, images: Tensor) -> None:
    sizes = []
    for count in range(NETWORKS[name]):
        body = new_body(name)
        staged = stages.stage_of_parameters(body)
        stages.drop_top_stages(body, count)
        left = NETWORKS[name] - count
        assert stages.num_stages(body) == left
        assert stages.stage_of_parameters(body) == {name: stage for name, stage in staged.items() if stage < left}
        assert body(images).shape == (3, stages.num_features(body))
        sizes.append(sum(parameter.numel() for parameter in body.parameters()))
    assert sizes == sorted(set(sizes), reverse=True)


@pytest.mark.parametrize("name", ["resnet18"])
def test_what_is_left_is_averaged_over_positions(body: nn.Module) -> None:
    images, seen = torch.randn(2, 3, 64, 64), []
    body.eval().layer2.register_forward_hook(lambda *called: seen.append(called[-1].mean((2, 3))))
    body(images)
    stages.drop_top_stages(body, 2)
    torch.testing.assert_close(body(images), seen[0])


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
        ("feature_info", "Toy cannot be divided into stages: it has no feature_info.*another backbone"),
        ("group_matcher", "Toy cannot be divided into stages: it has no group_matcher.*another backbone"),
    ],
)
def test_a_body_must_tell_its_stages(attribute: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = Toy()
    body.prune_intermediate_layers = None
    monkeypatch.delattr(body if attribute == "feature_info" else Toy, attribute)
    for refused in (stages.set_trainable, stages.drop_top_stages):
        with pytest.raises(ModelError, match=message):
            refused(body, 1)
    stages.set_trainable(body, 0)
    stages.drop_top_stages(body, 0)
    assert not any(parameter.requires_grad for parameter in body.parameters())


def test_stages_that_do_not_rise_are_refused() -> None:
    body = Toy()
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
    body = Toy()
    if pruned is not None:

        def prune(*_: object, **__: object) -> None:
            for part in pruned:
                delattr(body, part)

        body.prune_intermediate_layers = prune
        body.reset_classifier = lambda *_, **__: None
    with pytest.raises(ModelError, match=f"the top stages of Toy cannot be dropped: .*{message}.*another backbone"):
        stages.drop_top_stages(body, 1)


def test_of_the_lower_stages_nothing_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    body = Toy()
    body.middle = nn.Sequential(nn.Linear(4, 4))
    body.feature_info.insert(1, {"module": "middle", "num_chs": 4})
    groups = {"lower": "lower", "middle": "middle", "upper": "upper|gain"}
    monkeypatch.setattr(body, "group_matcher", lambda coarse: groups)

    def prune(*_: object, **__: object) -> None:
        del body.upper, body.lower.bias

    body.prune_intermediate_layers = prune
    body.reset_classifier = lambda *_, **__: None
    with pytest.raises(ModelError, match=r"timm would remove lower\.bias too"):
        stages.drop_top_stages(body, 1)


def test_timms_refusal_is_passed_on() -> None:
    body = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=0, img_size=32, depth=3)
    with pytest.raises(ModelError, match="cannot be dropped: timm refuses"):
        stages.drop_top_stages(body, 1)
