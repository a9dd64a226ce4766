"""Where data are looked for, and their download from a server on this machine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.data import Cifar10, DataConfig, FashionMnist, Mnist
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data, load_test
from pipeline.data.sources.idx import read_mnist
from pipeline.data.sources.user_data import data_folders

MNIST, CIFAR10 = Mnist(), Cifar10()


def test_data_dir_comes_first_then_the_environment_then_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "home" / ".cache" / "dnntune" / "data"
    assert data_folders(None) == [cache]
    monkeypatch.setenv("DNNTUNE_DATA", "/elsewhere")
    assert data_folders("~/images") == [tmp_path / "home" / "images", Path("/elsewhere"), cache]


def test_the_first_folder_that_has_the_file_is_taken(tmp_path: Path, write_idx: Callable[..., Any]) -> None:
    write_idx(tmp_path / "second", num_images=10)
    write_idx(tmp_path / "third", num_images=20)
    images = read_mnist(MNIST, "train", [tmp_path / "first", tmp_path / "second", tmp_path / "third"])
    assert len(images.labels) == 10


def _num_test(config: DataConfig, data: ImageData, data_dir: str) -> int:
    test = load_test(config, data, data_dir=data_dir)
    assert test is not None
    return len(test)


@pytest.mark.parametrize(("config", "folder"), [(Mnist(), "MNIST"), (FashionMnist(), "FashionMNIST")])
def test_downloads_into_data_dir_and_only_once(
    config: DataConfig, folder: str, tmp_path: Path, mnist_mirror: Any
) -> None:
    data_dir = str(tmp_path / "data")
    data = load_data(config, data_dir=data_dir)
    assert len(data.train) + len(data.valid) == 40
    assert (tmp_path / "data" / folder / "raw" / "train-images-idx3-ubyte").is_file()
    num_requests = len(mnist_mirror.requests)
    assert num_requests > 0
    assert _num_test(config, data, data_dir) == 10
    load_data(config, data_dir=data_dir)
    assert len(mnist_mirror.requests) == num_requests


@pytest.mark.usefixtures("mnist_mirror")
def test_downloads_into_the_cache_without_data_dir(tmp_path: Path) -> None:
    load_data(MNIST)
    assert (tmp_path / "home" / ".cache" / "dnntune" / "data" / "MNIST" / "raw").is_dir()


@pytest.mark.usefixtures("mnist_mirror")
def test_fetches_the_part_that_a_folder_lacks(tmp_path: Path, write_idx: Callable[..., Any]) -> None:
    write_idx(tmp_path / "MNIST" / "raw", "train", num_images=30)
    data = load_data(MNIST, data_dir=str(tmp_path))
    assert len(data.train) + len(data.valid) == 30
    assert _num_test(MNIST, data, str(tmp_path)) == 10


@pytest.mark.usefixtures("cifar10_mirror")
def test_downloads_cifar10(tmp_path: Path, write_cifar10: Callable[[Path], np.ndarray]) -> None:
    pixels = write_cifar10(tmp_path / "same")
    data = load_data(CIFAR10, data_dir=str(tmp_path / "data"))
    assert data.image_shape == (3, 32, 32)
    assert data.train.images.sum() + data.valid.images.sum() == pixels.sum()
    assert _num_test(CIFAR10, data, str(tmp_path / "data")) == 10


def test_a_wrong_checksum(tmp_path: Path, mnist_mirror: Any) -> None:
    file = mnist_mirror.folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"MNIST .*cannot be downloaded: .*corrupted.*--data-dir"):
        load_data(MNIST, data_dir=str(tmp_path / "data"))


def test_a_wrong_checksum_of_cifar10(tmp_path: Path, cifar10_mirror: Any) -> None:
    (cifar10_mirror.folder / "cifar-10-python.tar.gz").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(DataError, match=r"CIFAR10 .*cannot be downloaded: .*corrupted.*--data-dir"):
        load_data(CIFAR10, data_dir=str(tmp_path / "data"))


@pytest.mark.parametrize("config", [Mnist(), FashionMnist(), CIFAR10])
def test_no_server(config: DataConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        load_data(config, data_dir=str(tmp_path / "data"))
    message = str(raised.value)
    assert "\n" not in message
    assert f"is in none of {tmp_path / 'data'}, {tmp_path / 'home'}" in message
    assert "Connection refused" in message
    assert message.endswith("Put its files there, or name their folder with --data-dir or $DNNTUNE_DATA")


@pytest.mark.parametrize("answer", [b"HTTP/1.0 404 Not Found\r\n\r\n", b"not HTTP at all\r\n\r\n", b""])
def test_a_server_without_the_files(answer: bytes, tmp_path: Path, mnist_mirror: Any) -> None:
    mnist_mirror.answer = answer
    with pytest.raises(DataError, match=r"cannot be downloaded"):
        load_data(MNIST, data_dir=str(tmp_path / "data"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"MNIST .*cannot be downloaded: .*File exists"):
        load_data(MNIST, data_dir=str(tmp_path / "data"))


def test_an_interrupted_download_leaves_nothing_that_could_pass_for_data(tmp_path: Path, mnist_mirror: Any) -> None:
    labels = mnist_mirror.folder / "train-labels-idx1-ubyte.gz"
    content = labels.read_bytes()
    labels.unlink()
    with pytest.raises(DataError, match="404"):
        load_data(MNIST, data_dir=str(tmp_path / "data"))
    assert [entry for entry in (tmp_path / "data").rglob("*") if entry.name != ".MNIST.lock"] == []
    labels.write_bytes(content)
    assert load_data(MNIST, data_dir=str(tmp_path / "data")).num_classes == 10


def test_workers_that_start_together_download_once(tmp_path: Path, mnist_mirror: Any) -> None:
    with ThreadPoolExecutor(4) as threads:
        loaded = [threads.submit(load_data, MNIST, data_dir=str(tmp_path / "data")) for _ in range(4)]
    assert {len(data.result().train) for data in loaded} == {30}
    # torchvision asks twice for each file: it first follows redirections.
    assert len(mnist_mirror.requests) == 8
