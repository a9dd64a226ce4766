"""MNIST and Fashion-MNIST: where their files may lie, and what is said of broken ones."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.data import FashionMnist, Mnist
from pipeline.core.errors import DataError
from pipeline.data.images import Images, Split, check
from pipeline.data.loading import load_data
from pipeline.data.sources import idx
from pipeline.data.sources.user_data import data_folders
from tests.memory import peak

WriteIdx = Callable[..., tuple[np.ndarray, np.ndarray]]
MNIST = Mnist()
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("read", "layout"),
    [
        (idx.read_mnist, "MNIST/raw"),
        (idx.read_mnist, ""),
        (idx.read_fashion_mnist, "FashionMNIST/raw"),
        (idx.read_fashion_mnist, ""),
    ],
)
def test_reads_both_parts(
    read: Callable[..., Images], layout: str, part: str, packed: bool, tmp_path: Path, write_idx: WriteIdx
) -> None:
    other = {"train": "test", "test": "train"}[part]
    pixels, labels = write_idx(tmp_path / layout, part, packed=packed, num_images=30)
    write_idx(tmp_path / layout, other, packed=packed, num_images=12)
    images = read(MNIST, part, [tmp_path])
    assert images.pixels.dtype == np.uint8
    np.testing.assert_array_equal(images.pixels, pixels[:, None])
    np.testing.assert_array_equal(images.labels, labels)
    assert images.num_classes == 10


def test_the_named_folder_wins_over_files_that_may_be_another_data_set(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path, num_images=30)
    pixels, _ = write_idx(tmp_path / "FashionMNIST" / "raw", num_images=20, packed=True)
    images = idx.read_fashion_mnist(FashionMnist(), "train", [tmp_path])
    np.testing.assert_array_equal(images.pixels[:, 0], pixels)


def test_has_no_validation_part_of_its_own(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path)
    assert idx.read_mnist(MNIST, "valid", [tmp_path]) is None


@pytest.mark.parametrize("missing", [IMAGES, LABELS])
def test_missing_file(missing: str, tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=r"MNIST \(\S+-ubyte\) is in none of .*--data-dir or \$DNNTUNE_DATA") as raised:
        idx.read_mnist(MNIST, "train", [tmp_path])
    assert str(raised.value).startswith(f"MNIST ({missing}) is in none of {tmp_path} and cannot be downloaded")


WRONG_TYPE = bytes([0, 0, 13, 3])
BROKEN = {
    "truncated": (IMAGES, lambda content: content[:-1], r"announces 15,680 bytes \(20 x 28 x 28\); got 15,679"),
    "cut in the header": (IMAGES, lambda content: content[:9], "must begin with the IDX header 00000803"),
    "empty": (IMAGES, lambda content: b"", "must begin with the IDX header 00000803; got nothing"),
    "too long": (IMAGES, lambda content: content + b"\0", "truncated or damaged"),
    "of another type": (IMAGES, lambda content: WRONG_TYPE + content[4:], "IDX header 00000803; got 00000d03"),
    "labels for images": (IMAGES, lambda content: bytes([0, 0, 8, 1]) + content[4:], "header 00000803; got 00000801"),
    "a web page": (LABELS, lambda content: b"<!DOCTYPE html>", "must begin with the IDX header 00000801"),
    "truncated labels": (LABELS, lambda content: content[:-5], r"announces 20 bytes \(20\); got 15"),
}


@pytest.mark.parametrize(("file", "change", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("packed", [True, False])
def test_broken_content(
    file: str, change: Callable[[bytes], bytes], message: str, packed: bool, tmp_path: Path, write_idx: WriteIdx
) -> None:
    write_idx(tmp_path)
    content = change((tmp_path / file).read_bytes())
    if packed:
        (tmp_path / file).unlink()
        file, content = f"{file}.gz", gzip.compress(content)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=f"{message}.*[Ff]etch it again") as raised:
        idx.read_mnist(MNIST, "train", [tmp_path])
    assert str(raised.value).startswith(f"{tmp_path / file}: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-3],
        lambda content: content[:7],
        lambda content: b"not gzip",
        lambda content: content[:10] + b"\xff" + content[11:],
        lambda content: content[:100] + bytes(100) + content[200:],
        lambda content: content[:-8] + bytes(4) + content[-4:],
    ],
    ids=["half", "no length", "half a header", "not packed", "no such block", "zeros inside", "wrong checksum"],
)
def test_broken_packing(change: Callable[[bytes], bytes], tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path, packed=True)
    file = tmp_path / f"{IMAGES}.gz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError, match=r"cannot be read: .*Fetch it again") as raised:
        idx.read_mnist(MNIST, "train", [tmp_path])
    assert str(raised.value).startswith(f"{file}: ")


BOMBS = {
    "more than the header says": ((20, 28, 28), bytes(2**27), r"announces 15,680 bytes .* got more than 15,680"),
    "a header that lies": ((2**12, 2**10, 2**8), bytes(20), r"announces 1,073,741,824 bytes .* got at most \d\d,\d+\."),
    "more than any memory": ((2**32 - 1,) * 3, bytes(20), r"announces 79,[\d,]+ bytes .* and this machine has"),
    "no header": (None, bytes(2**27), "must begin with the IDX header 00000803; got 00000000"),
}


@pytest.mark.parametrize(("shape", "content", "message"), BOMBS.values(), ids=BOMBS)
def test_an_archive_takes_no_more_memory_than_its_header_says(
    shape: tuple[int, ...] | None, content: bytes, message: str, tmp_path: Path, write_idx: WriteIdx
) -> None:
    write_idx(tmp_path, packed=True)
    file = tmp_path / f"{IMAGES}.gz"
    header = b"" if shape is None else struct.pack(">4B3I", 0, 0, 8, 3, *shape)
    file.write_bytes(gzip.compress(header + content))
    with peak() as taken, pytest.raises(DataError, match=f"{message}.*[Ff]etch it again"):
        idx.read_mnist(MNIST, "train", [tmp_path])
    assert taken() < 2**22


def test_a_pipe_for_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.gz")
    with pytest.raises(DataError, match=r"no regular file\. Fetch it again"):
        idx.read_idx(tmp_path / "train.gz", num_dimensions=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([*range(10)] * 2 + [0], "needs one label for each image; got 20 images and 21 labels"),
        ([*range(10), *range(9), 10], "labels must lie between 0 and 9; got 10 at image 19"),
        ([*range(9), 0] * 2, r"every class needs images; class 9 \(9\) has none"),
    ],
    ids=["one too many", "outside the classes", "class without images"],
)
def test_labels_that_do_not_fit(labels: list[int], message: str, tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path, labels=labels)
    with pytest.raises(DataError, match=message) as raised:
        load_data(MNIST, data_dir=str(tmp_path))
    assert str(raised.value).startswith(str(tmp_path / LABELS))


def test_no_images(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path, num_images=0)
    with pytest.raises(DataError, match=f"{LABELS}: holds no images; its shape is 0 x 1 x 28 x 28"):
        load_data(MNIST, data_dir=str(tmp_path))


@pytest.fixture
def _debian(fashion_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.sources.user_data.DEBIAN_FASHION_MNIST", fashion_mnist)


@pytest.mark.usefixtures("_debian")
def test_the_real_fashion_mnist_is_found_without_any_setting() -> None:
    config = FashionMnist()

    def whole(part: Split) -> Images:
        images = idx.read_fashion_mnist(config, part, data_folders(None))
        assert images is not None
        return check(images, part)

    train, test = whole("train"), whole("test")
    assert train.pixels.shape == (60_000, 1, 28, 28)
    assert test.pixels.shape == (10_000, 1, 28, 28)
    assert np.bincount(train.labels).tolist() == [6_000] * 10
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    assert [train.class_names[label] for label in train.labels[:3]] == ["ankle boot", "t-shirt", "t-shirt"]
    assert [test.class_names[label] for label in test.labels[:3]] == ["ankle boot", "pullover", "trouser"]


@pytest.mark.usefixtures("_debian")
def test_the_real_fashion_mnist_is_split_evenly() -> None:
    data = load_data(FashionMnist(valid_fraction=0.1))
    assert data.train.labels.bincount().tolist() == [5_400] * 10
    assert data.valid.labels.bincount().tolist() == [600] * 10
    # The mean and standard deviation that everyone uses for it: 0.2860 and 0.3530.
    assert data.train.mean.item() / 255 == pytest.approx(0.2860, abs=5e-4)
    assert 1 / data.train.scale.item() / 255 == pytest.approx(0.3530, abs=5e-4)
