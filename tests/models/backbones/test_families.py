"""The contract of `pipeline.models.backbones.stages`, over one small network of nearly every family of timm's."""

import copy
import itertools
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from pipeline.core.errors import ModelError
from pipeline.models import state
from pipeline.models.backbones import cut, stages

TINY: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 3}
SWIN: dict[str, Any] = {"embed_dim": 24, "depths": (1, 1, 2, 1)}
# From timm's module to a network of it, the side of its images in pixels, and settings.
FAMILIES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "beit": ("beit_base_patch16_224", 32, {"img_size": 32, **TINY}),
    "byoanet": ("eca_botnext26ts_256", 32, {"img_size": 32}),
    "byobnet": ("test_byobnet", 32, {"img_size": 32}),
    "cait": ("cait_xxs24_224", 32, {"img_size": 32, "depth": 3}),
    "coat": ("coat_lite_tiny", 32, {"img_size": 32}),
    "convit": ("convit_tiny", 32, {"img_size": 32}),
    "convmixer": ("convmixer_768_32", 32, {}),
    "convnext": ("test_convnext", 32, {}),
    "cpubone": ("cpubone_nano", 32, {}),
    "csatv2": ("csatv2", 64, {}),
    "cspnet": ("cs3darknet_focus_s", 32, {}),
    "cspnext": ("cspnext_tiny", 32, {}),
    "davit": ("davit_tiny", 32, {"embed_dims": (24, 48, 96, 192)}),
    "deepseek_vit": ("deepseek_vit_412m", 224, {"img_size": 224, **TINY}),
    "deit": ("deit_tiny_distilled_patch16_224", 32, {"img_size": 32}),
    "densenet": ("densenet121", 32, {}),
    "dla": ("dla46x_c", 32, {}),
    "dpn": ("dpn48b", 32, {}),
    "edgenext": ("edgenext_xx_small", 32, {}),
    "efficientformer": (
        "efficientformer_l1",
        224,
        {"img_size": 224, "depths": (1, 1, 1, 2), "embed_dims": (16, 32, 48, 64)},
    ),
    "efficientformer_v2": ("efficientformerv2_s0", 32, {"img_size": 32}),
    "efficientnet": ("test_efficientnet", 32, {}),
    "efficientvim": ("efficientvim_m1", 32, {}),
    "efficientvit_mit": ("efficientvit_b0", 32, {}),
    "efficientvit_msra": ("efficientvit_m0", 32, {"img_size": 32}),
    "eva": ("vit_tiny_patch16_dinov3_qkvb", 32, {"img_size": 32}),
    "fasternet": ("fasternet_t0", 32, {}),
    "fastvit": ("fastvit_t8", 32, {}),
    "focalnet": ("focalnet_tiny_srf", 32, {}),
    "gcvit": ("gcvit_xxtiny", 32, {"img_size": 32}),
    "gemma4_vit": ("gemma4_vit_167m", 32, {"img_size": 32, **TINY}),
    "ghostnet": ("ghostnet_050", 32, {}),
    "hardcorenas": ("hardcorenas_b", 32, {}),
    "hgnet": ("hgnetv2_b0", 32, {}),
    "hiera": ("hiera_tiny_224", 32, {"img_size": 32, "embed_dim": 48}),
    "hieradet_sam2": ("sam2_hiera_tiny", 32, {"embed_dim": 48}),
    "hrnet": ("hrnet_w18_small", 32, {}),
    "iformer": ("iformer_t", 32, {}),
    "inception_next": ("inception_next_atto", 32, {}),
    "lcnetv2": ("lcnetv2_small", 32, {}),
    "levit": ("levit_128s", 32, {"img_size": 32}),
    "lowformer": ("lowformer_b0", 32, {}),
    "mambaout": ("test_mambaout", 32, {}),
    "maxxvit": ("test_coatnet", 32, {"img_size": 32}),
    "metaformer": ("poolformerv2_s12", 32, {}),
    "mlp_mixer": ("gmlp_ti16_224", 32, {"img_size": 32}),
    "mobilenetv3": ("mobilenetv3_small_050", 32, {}),
    "mobilevit": ("mobilevit_xxs", 32, {"img_size": 32}),
    "mvitv2": ("mvitv2_tiny", 32, {"img_size": 32}),
    "naflexvit": ("naflexvit_base_patch16_gap", 32, {"img_size": 32, **TINY}),
    "nest": ("nest_tiny", 64, {"img_size": 64}),
    "nextvit": ("nextvit_small", 32, {}),
    "nfnet": ("test_nfnet", 32, {}),
    "pit": ("pit_ti_224", 32, {"img_size": 32}),
    "pvt_v2": ("pvt_v2_b0", 32, {}),
    "qwen3_vit": ("qwen3_vit_88m", 32, {"img_size": 32, **TINY}),
    "rdnet": ("rdnet_tiny", 32, {}),
    "regnet": ("regnety_002", 32, {}),
    "repghost": ("repghostnet_050", 32, {}),
    "repvit": ("repvit_m1", 32, {"img_size": 32}),
    "res2net": ("res2next50", 32, {}),
    "resnest": ("resnest14d", 32, {}),
    "resnet": ("test_resnet", 32, {}),
    "resnetv2": ("resnetv2_18", 32, {}),
    "rexnet": ("rexnet_100", 32, {}),
    "selecsls": ("selecsls42", 32, {}),
    "senet": ("legacy_seresnet18", 32, {}),
    "sequencer": ("sequencer2d_s", 32, {"img_size": 32, "layers": (1, 1, 2, 1)}),
    "shvit": ("shvit_s1", 32, {}),
    "sknet": ("skresnet18", 32, {}),
    "starnet": ("starnet_s050", 32, {}),
    "swiftformer": ("swiftformer_xs", 32, {"img_size": 32}),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 32, {"img_size": 32, **SWIN}),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", 32, {"img_size": 32, **SWIN}),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 32, {"img_size": 32, **SWIN}),
    "tiny_vit": ("tiny_vit_5m_224", 32, {}),
    "tnt": ("tnt_s_patch16_224", 32, {"img_size": 32, "depth": 3}),
    "tresnet": ("tresnet_m", 32, {}),
    "twins": ("twins_svt_small", 32, {"img_size": 32, "embed_dims": (32, 64, 128, 256), "depths": (1, 1, 2, 1)}),
    "visformer": ("visformer_tiny", 32, {"img_size": 32}),
    "vision_transformer": ("test_vit", 32, {"img_size": 32}),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 32, {"img_size": 32}),
    "vision_transformer_relpos": ("test_vit_relpos", 32, {"img_size": 32}),
    "vision_transformer_sam": ("samvit_base_patch16_224", 32, {"img_size": 32, **TINY}),
    "vitamin": ("vitamin_small_224", 32, {"img_size": 32}),
    "volo": ("volo_d1_224", 32, {"img_size": 32}),
    "vovnet": ("ese_vovnet19b_slim_dw", 32, {}),
    "xception": ("legacy_xception", 32, {}),
    "xception_aligned": ("xception41p", 32, {}),
    "xcit": ("xcit_nano_12_p8_224", 32, {"img_size": 32, "depth": 3}),
}
# timm does not say in which order their parameters are computed with, or cannot tell their stages apart.
UNSTAGED = ["csatv2", "gemma4_vit", "hrnet", "metaformer", "mvitv2", "pit", "rdnet", "selecsls", "twins"]
# More than one tensor goes from their lower stages to their upper ones.
UNCUT = ["efficientvim", "tnt"]
# timm leaves no pooled features when it drops their top stages.
UNDROPPED = ["deit", "efficientformer"]


# What `make test` takes of them: networks of every kind. `make test-slow` takes the others.
USUAL = (
    *("beit", "byobnet", "convnext", "cspnet", "deit", "densenet", "dpn", "efficientnet", "eva", "fasternet"),
    *("ghostnet", "levit", "maxxvit", "metaformer", "mobilenetv3", "nfnet", "regnet", "resnet", "swin_transformer"),
    *("tresnet", "vision_transformer", "xcit"),
)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in FAMILIES],
)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(family: str) -> nn.Module:
    name, _, settings = FAMILIES[family]
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0, **settings)


@pytest.fixture
def body(made: nn.Module) -> nn.Module:
    return copy.deepcopy(made)


@pytest.fixture
def images(family: str) -> Tensor:
    size = FAMILIES[family][1]
    return torch.randn(3, 3, size, size)


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers())}


def test_width(body: nn.Module, images: Tensor) -> None:
    assert body.eval()(images).shape == (3, stages.num_features(body))


def test_stages(family: str, body: nn.Module) -> None:
    if family in UNSTAGED:
        for refused in (stages.set_trainable, stages.drop_top_stages):
            with pytest.raises(ModelError, match=f"{FAMILIES[family][0]} cannot be divided into stages: "):
                refused(body, 1)
        return
    staged = stages.stage_of_parameters(body)
    assert list(staged) == [name for name, _ in body.named_parameters()]
    # One family's lowest stage rearranges pixels.
    assert set(range(stages.num_stages(body))) - set(staged.values()) == ({0} if family == "tresnet" else set())


def test_what_is_frozen_stays(family: str, body: nn.Module, images: Tensor) -> None:
    total = stages.num_stages(body)
    top = 0 if family in UNSTAGED else total // 2
    stages.set_trainable(body, top)
    trainable = {name for name, parameter in body.named_parameters() if parameter.requires_grad}
    head = nn.Linear(stages.num_features(body), 2)
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.01, weight_decay=0.1)
    # Some fill tables of positions, which are buffers, when they first run.
    body.eval()(images)
    before = _snapshot(body)
    for _ in range(2):
        body.train()
        state.keep_frozen_in_evaluation(body)
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(body(images)), torch.tensor([0, 1, 0])).backward()
        optimizer.step()
    changed = {name for name, tensor in _snapshot(body).items() if not torch.equal(tensor, before[name])}
    parameters = {name for name, _ in body.named_parameters()}
    assert changed & parameters <= trainable
    # A bias of zero without a gradient has nothing to change it.
    assert len(changed & parameters) >= len(trainable) / 2
    owners = {name.rpartition(".")[0] for name in trainable}
    assert {name.rpartition(".")[0] for name in changed - parameters} <= owners


def test_cut(family: str, body: nn.Module, images: Tensor) -> None:
    total = stages.num_stages(body)
    tops = {0, total} if family in UNSTAGED else {1, total // 2}
    for top in tops:
        if family in UNCUT and 0 < top < total:
            with pytest.raises(cut.CannotSplitError, match=r"one tensor|above the cut|does not compute the same"):
                cut.split(body, top, images)
            continue
        prefix, suffix = cut.split(body, top, images)
        batch = torch.randn(2, *images.shape[1:])
        with torch.no_grad():
            assert torch.equal(suffix.eval()(prefix(batch)), body.eval()(batch))


def test_dropped(family: str, made: nn.Module, images: Tensor) -> None:
    if family in UNSTAGED:
        return
    total = stages.num_stages(made)
    for count in {1, total - 1}:
        body = copy.deepcopy(made).eval()
        if family in UNDROPPED:
            with pytest.raises(ModelError, match=f"top stages of {FAMILIES[family][0]} cannot be dropped: "):
                stages.drop_top_stages(body, count)
            continue
        stages.drop_top_stages(body, count)
        assert stages.num_stages(body) == total - count
        assert body(images).shape == (3, stages.num_features(body))
        assert stages.stage_of_parameters(body).keys() < stages.stage_of_parameters(made).keys()
