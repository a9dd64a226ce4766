"""What is wrong with a study on this machine is said before torch is imported."""

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import BatchNorm2d

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DataError, DeviceError, DnntuneError, ModelError
from pipeline.data.sources import user_data
from pipeline.models.build import build_model, num_parameters
from pipeline.models.layers import build_layers
from pipeline.setup import preflight
from pipeline.setup.preflight import check_ready, num_weights, prove_built_in, training_bytes
from pipeline.space.files import read_space
from pipeline.space.yaml_text import with_location
from tests.memory import peak


@pytest.fixture(autouse=True)
def _a_small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "has_no_gpu", lambda: True)
    monkeypatch.setattr(preflight, "has_bfloat16", lambda: False)
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 2**30)


def check_rules(device: str = "auto", **settings: Any) -> None:
    space = read_space(with_location({"space": {"data": {"kind": "digits"}, **settings}}, "f"), "f").space
    check_ready(space.boundary_configs, device)


def test_what_can_run_is_not_held_up(tmp_path: Path) -> None:
    check_rules(model={"width": {"int": [10, 1000]}, "activation": {"choice": ["relu", "selu"]}})
    check_rules(model={"kind": "backbone", "name": "resnet18.a1_in1k"})
    check_rules("cpu", precision="auto")
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
    check_rules(data={"kind": "image_folder", "path": str(tmp_path)})


@pytest.mark.parametrize(
    ("device", "settings", "error", "said"),
    [
        ("gpu", {}, DeviceError, "got 'gpu'. Did you mean cuda?"),
        ("gpu:1", {}, DeviceError, "Did you mean cuda?"),
        ("cudo", {}, DeviceError, "Did you mean cuda?"),
        ("cuda", {}, DeviceError, "this machine has 0 CUDA devices. Use --device auto"),
        ("cuda:3", {}, DeviceError, "there is no device cuda:3"),
        ("cpu", {"precision": "tf32"}, DeviceError, "precision tf32 needs a CUDA device"),
        ("auto", {"precision": {"choice": ["float32", "bfloat16"]}}, DeviceError, "Use precision: float32 or auto"),
        ("auto", {"model": {"kind": "backbone", "name": "resnet5000"}}, ModelError, "Did you mean resnet50?"),
        (
            "auto",
            {"model": {"kind": "backbone", "name": {"choice": ["resnet18", "resnet19"]}}},
            ModelError,
            "got 'resnet19'",
        ),
        ("auto", {"model": {"kind": "backbone", "name": "resnet18.no_such_tag"}}, ModelError, "resnet18 has a1_in1k, "),
        ("auto", {"model": {"kind": "backbone", "name": "resnet18.a1_in2k"}}, ModelError, "Did you mean a1_in1k?"),
        ("auto", {"model": {"kind": "backbone", "name": "resnet18."}}, ModelError, "got 'resnet18.'"),
        ("auto", {"loss": {"class_weights": [1.0, 2.0]}}, DataError, "got 2 weights for 10 classes"),
        ("auto", {"data": {"kind": "arrays", "path": "nowhere.npz"}}, DataError, "nowhere.npz: cannot be read as .npz"),
        ("auto", {"data": {"kind": "arrays", "path": "."}}, DataError, "it is not a regular file"),
        ("auto", {"data": {"kind": "arrays", "path": "x" * 300}}, DataError, "cannot be read as .npz"),
        ("auto", {"data": {"kind": "image_folder", "path": "nowhere"}}, DataError, "nowhere: no such folder"),
        ("auto", {"data": {"kind": "image_folder", "path": "x" * 300}}, DataError, "File name too long"),
    ],
)
def test_what_cannot_run_is_said(
    device: str, settings: dict[str, Any], error: type[DnntuneError], said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        check_rules(device, **settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "gibibytes"),
    [
        ({"model": {"width": {"int": [10, 20_000]}}, "optimizer": {"kind": "sgd", "momentum": 0.0}}, 9.0),
        ({"model": {"width": {"int": [10, 20_000]}}, "optimizer": "sgd"}, 11.9),
        ({"model": {"width": 20_000}, "ema_decay": 0.9}, 17.9),
        ({"model": {"width": {"choice": [[10, 10, 10], [20_000, 20_000, 20_000]]}}}, 14.9),
    ],
)
def test_a_network_that_no_memory_holds_is_refused_with_its_size(settings: dict[str, Any], gibibytes: float) -> None:
    with pytest.raises(DeviceError, match=r"model.width: the largest network, 3 x 20,000 units") as caught:
        check_rules(**settings)
    assert f"at least {gibibytes} GiB" in str(caught.value)
    assert "this machine has 1.0. Make model.width or model.hidden_layers smaller" in str(caught.value)


def _archive(file: Path, **shapes: tuple[int, ...]) -> dict[str, Any]:
    arrays = {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()}
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return {"data": {"kind": "arrays", "path": str(file)}}


ARCHIVES: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "no labels": ({"x_train": (9, 5, 6)}, "needs the arrays x_train and y_train"),
    "no images of a part": ({"x_train": (9, 5, 6), "y_train": (9,), "y_valid": (9,)}, "needs the arrays x_valid"),
    "fewer labels": ({"x_train": (9, 5, 6), "y_train": (8,)}, "train: needs one label for each image"),
    "no images": ({"x_train": (9,), "y_train": (9,)}, "must be (images, height, width)"),
    "two places for channels": ({"x_train": (9, 3, 6, 3), "y_train": (9,)}, "channels in front or at the end"),
    "another size": (
        {"x_train": (9, 5, 6), "y_train": (9,), "x_valid": (9, 6, 5), "y_valid": (9,)},
        "valid: images must be (1, 5, 6) as in training; got (1, 6, 5)",
    ),
}


@pytest.mark.parametrize(("shapes", "said"), ARCHIVES.values(), ids=ARCHIVES)
def test_an_archives_shapes_are_looked_at(shapes: dict[str, tuple[int, ...]], said: str, tmp_path: Path) -> None:
    settings = _archive(tmp_path / "images.npz", **shapes)
    with pytest.raises(DataError) as caught:
        check_rules(**settings)
    assert str(caught.value).startswith(f"{tmp_path / 'images.npz'}: ")
    assert said in str(caught.value)


def test_the_values_of_an_archives_images_count(tmp_path: Path) -> None:
    settings = _archive(tmp_path / "a.npz", x_train=(9, 1200, 1000, 3), y_train=(9,), y_test=(3,))  # not looked at
    check_rules(**settings, model={"width": 10})
    with peak() as taken, pytest.raises(DeviceError, match=r"has 360,0\d\d,\d+ weights"):
        check_rules(**settings, model={"width": {"int": [10, 100]}})
    assert taken() < 2**23  # the images have 31 MiB


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_a_network_that_no_gpu_holds_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "has_no_gpu", lambda: False)
    model = {"model": {"width": {"int": [10, 20_000]}}, "optimizer": {"kind": "sgd", "momentum": 0.0}}
    for there in (None, 10 * 2**30):
        monkeypatch.setattr(preflight, "gpu_memory_bytes", lambda there=there: there)
        check_rules(device, **model)
    monkeypatch.setattr(preflight, "gpu_memory_bytes", lambda: 8 * 2**30)
    with pytest.raises(DeviceError, match=r"at least 9\.0 GiB .* this machine's largest GPU has 8\.0\. Make model"):
        check_rules(device, **model)
    with pytest.raises(DeviceError, match=r"this machine has 1\.0\. Make model"):
        check_rules("cpu", **model)


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
def test_weights_are_counted_without_the_network(batch_norm: str) -> None:
    model = {"kind": "mlp", "width": [50, 30], "batch_norm": batch_norm}
    config = TrialConfig.model_validate({"data": {"kind": "digits"}, "model": model})
    network = build_layers(config.model, num_inputs=64, num_classes=10)  # type: ignore[arg-type]
    there = sum(tensor.numel() for tensor in network.parameters())
    assert num_weights(config) <= there
    assert num_weights(config) == there or batch_norm != "none"
    step = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 64)).sum().backward()
    step.step()
    states = sum(tensor.numel() for state in step.state.values() for tensor in state.values() if tensor.dim() > 0)
    held = 3 * there + states  # weights, gradients, the best epoch's weights; averages
    assert 0.9 * held * 4 < training_bytes(config) <= held * 4


@pytest.mark.parametrize("block", ["plain", "residual"])
@pytest.mark.parametrize("global_pooling", ["average", "none"])
def test_kernels_are_counted_without_the_network(block: str, global_pooling: str) -> None:
    head = {"hidden_layers": 1, "width": 9, "batch_norm": "none"}
    model = {"kind": "cnn", "channels": 6, "block": block, "global_pooling": global_pooling, "head": head}
    config = TrialConfig.model_validate({"data": {"kind": "digits"}, "model": model})
    network = build_model(config.model, image_shape=(1, 8, 8), num_classes=10)
    normalization = sum(2 * module.num_features for module in network.modules() if isinstance(module, BatchNorm2d))
    assert num_weights(config) == num_parameters(network) - normalization


def test_convolutions_that_no_memory_holds_are_refused() -> None:
    said = r"model.channels: the largest network, stages of 8,000 - 16,000 - 32,000 channels, has .* this machine"
    with pytest.raises(DeviceError, match=said):
        check_rules(model={"kind": "cnn", "channels": {"int": [8, 8_000]}})
    check_rules(model={"kind": "cnn", "channels": {"int": [8, 80]}})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"stages": 5}, "8 x 8 pixels have room for 4 stages; got 5. Lower it, or give larger images"),
        ({"stages": {"int": [1, 6]}}, "8 x 8 pixels have room for 4 stages; got 6."),
        ({"channels": {"choice": [[4, 4], [4, 4, 4, 4, 4]]}}, "have room for 4 stages; got 5."),
        ({"stages": 5, "pooling": {"choice": ["stride", "max"]}}, "have room for 4 stages; got 5."),
    ],
)
def test_images_too_small_for_the_stages_are_said_at_once(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=r"^model.stages: between two stages height and width are halved") as caught:
        check_rules(model={"kind": "cnn", "blocks": 1, **model})
    assert said in str(caught.value)
    check_rules(model={"kind": "cnn", "blocks": 1, "stages": {"int": [1, 4]}})


def test_the_size_of_your_own_images_counts(tmp_path: Path) -> None:
    settings = _archive(tmp_path / "a.npz", x_train=(9, 40, 3, 3), y_train=(9,))
    check_rules(**settings, model={"kind": "cnn", "stages": 2})
    with pytest.raises(ModelError, match="images of 40 x 3 pixels have room for 2 stages; got 3"):
        check_rules(**settings, model={"kind": "cnn", "stages": 3})


def test_it_needs_no_torch() -> None:
    code = """import sys, pipeline.setup.preflight as r
r.check_architecture('resnet18.a1_in1k')
print('torch' in sys.modules, 'numpy' in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without data sets, and servers that nobody reaches."""
    monkeypatch.setattr("pipeline.data.sources.user_data.DEBIAN_FASHION_MNIST", tmp_path / "no-debian")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DNNTUNE_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setattr(preflight, "download_addresses", lambda name: [address])
    return tmp_path


def built_in(data_dir: Path | None = None, *names: str) -> list[str]:
    tree = with_location({"space": {"data": {"choice": list(names)}}}, "f")
    return prove_built_in(read_space(tree, "f").space.boundary_configs, None if data_dir is None else str(data_dir))


FILES = {
    "fashion_mnist": ["train-images-idx3-ubyte.gz", "FashionMNIST/raw/train-labels-idx1-ubyte"],
    "mnist": ["MNIST/raw/train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"],
    "cifar10": [f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)],
}


@pytest.mark.parametrize("name", FILES)
def test_a_built_in_data_set_that_is_absent_is_said(name: str, nowhere: Path) -> None:
    cache = nowhere / ".cache" / "dnntune" / "data"
    last = FILES[name][-1]
    for file in FILES[name][:-1]:
        (cache / file).parent.mkdir(parents=True, exist_ok=True)
        (cache / file).touch()
    with pytest.raises(DataError) as caught:
        built_in(None, "digits", name)
    said = str(caught.value)
    assert f"({Path(last).name.removesuffix('.gz')}) is in none of {cache} and cannot be downloaded: 127.0.0.1 " in said
    assert said.endswith("Put its files there, or name their folder with --data-dir or $DNNTUNE_DATA")
    (cache / last).parent.mkdir(parents=True, exist_ok=True)
    (cache / last).touch()
    assert built_in(None, "digits", name) == []


def test_where_a_server_answers_the_download_is_announced(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        monkeypatch.setattr(preflight, "download_addresses", lambda name: [f"http://127.0.0.1:{server.server_port}/"])
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        (notice,) = built_in(nowhere, "mnist")
        thread.join()
    assert notice.endswith(f"it will be downloaded to {nowhere}")
    (nowhere / "file").touch()
    with pytest.raises(DataError, match="file cannot be written to"):
        built_in(nowhere / "file", "mnist")


def test_the_addresses_in_torchvisions_source_are_those_that_it_downloads_from() -> None:
    import torchvision.datasets

    assert user_data.download_addresses("mnist") == torchvision.datasets.MNIST.mirrors
    assert user_data.download_addresses("fashion_mnist") == torchvision.datasets.FashionMNIST.mirrors
    assert user_data.download_addresses("cifar10") == [torchvision.datasets.CIFAR10.url]
