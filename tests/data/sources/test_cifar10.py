"""CIFAR-10: batches as Python 2 wrote them, broken ones, and ones that would run code."""

import codecs
import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.data import Cifar10
from pipeline.core.errors import DataError
from pipeline.data.loading import load_data
from pipeline.data.sources.cifar10 import MOST_BYTES, read_cifar10
from tests.memory import peak

CIFAR10 = Cifar10()
Write = Callable[[Path], np.ndarray]
Pickled = Callable[[object], bytes]


def test_the_batches_are_like_the_real_ones(tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    content = (tmp_path / "data_batch_1").read_bytes()
    assert set(pickle.loads(content, encoding="bytes")) == {b"batch_label", b"labels", b"data", b"filenames"}
    operations = {(operation.name, argument) for operation, argument, _ in pickletools.genops(content)}
    assert ("PROTO", 2) in operations
    assert ("GLOBAL", "numpy.core.multiarray _reconstruct") in operations
    assert "BINUNICODE" not in {name for name, _ in operations}


@pytest.mark.parametrize("layout", ["cifar-10-batches-py", ""])
def test_reads_both_parts(layout: str, tmp_path: Path, write_cifar10: Write) -> None:
    pixels = write_cifar10(tmp_path / layout)
    train, test = read_cifar10(CIFAR10, "train", [tmp_path]), read_cifar10(CIFAR10, "test", [tmp_path])
    np.testing.assert_array_equal(train.pixels, pixels)
    assert train.labels.tolist() == [*range(10)] * 5
    assert test.pixels.shape == (10, 3, 32, 32)
    assert test.labels.tolist() == [*range(10)]
    assert not (test.pixels[:, None] == train.pixels).all(axis=(2, 3, 4)).any()
    assert read_cifar10(CIFAR10, "valid", [tmp_path]) is None


@pytest.mark.parametrize("in_order", [np.ascontiguousarray, np.asfortranarray])
def test_reads_what_python_3_writes(
    in_order: Callable[[np.ndarray], np.ndarray], tmp_path: Path, write_cifar10: Write
) -> None:
    pixels = write_cifar10(tmp_path)
    batch = {"data": in_order(pixels[:10].reshape(10, -1)), "labels": [*range(10)]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    np.testing.assert_array_equal(read_cifar10(CIFAR10, "train", [tmp_path]).pixels, pixels)


def test_channels_are_red_green_blue_and_rows_come_before_columns(
    tmp_path: Path, write_cifar10: Write, pickled_by_python2: Pickled
) -> None:
    write_cifar10(tmp_path)
    image = np.zeros((1, 3072), np.uint8)
    image[0, 1] = 10  # red, row 0, column 1
    image[0, 1024 + 32] = 20  # green, row 1, column 0
    image[0, 2048] = 30
    (tmp_path / "test_batch").write_bytes(pickled_by_python2({"data": image, "labels": [4]}))
    pixels = read_cifar10(CIFAR10, "test", [tmp_path]).pixels[0]
    assert (pixels[0, 0, 1], pixels[1, 1, 0], pixels[2, 0, 0]) == (10, 20, 30)
    assert pixels.sum() == 60


def _error(folder: Path, content: bytes) -> str:
    """Returns what is said of a third batch with this content, less the file's name, which must come first."""
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError) as raised:
        load_data(CIFAR10, data_dir=str(folder))
    file, message = str(raised.value).split(": ", 1)
    assert file == str(folder / "data_batch_3")
    return message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_batch(share: float, tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    content = (tmp_path / "data_batch_3").read_bytes()
    message = _error(tmp_path, content[: int(share * len(content))])
    assert message.startswith("is not a batch of CIFAR-10: ")
    assert message.endswith("Fetch it again")


NO_BATCHES = {
    "a web page": b"<!DOCTYPE html><html>",
    "zeros": bytes(1000),
    "a number": pickle.dumps(3, protocol=2),
    "a list": pickle.dumps([1, 2], protocol=2),
    "nothing in it": pickle.dumps({}, protocol=2),
    "text for images": pickle.dumps({"data": "pixels", "labels": [1]}, protocol=2),
    "an impossible length": pickle.PROTO + b"\2" + pickle.BINUNICODE8 + b"\xff" * 8,
    "any amount of memory": pickle.PROTO + b"\4" + pickle.BYTEARRAY8 + b"\xff" * 7 + b"\x0f",
}


@pytest.mark.parametrize("content", NO_BATCHES.values(), ids=NO_BATCHES)
def test_no_batch(content: bytes, tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    message = _error(tmp_path, content)
    assert message.startswith("is not a batch of CIFAR-10: ")
    assert message.endswith("Fetch it again")


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (np.zeros((2, 3071), np.uint8), [0, 1], r"data must be \(images, 3072\); got \(2, 3071\)"),
        (np.zeros(3072, np.uint8), [0], r"data must be \(images, 3072\); got \(3072,\)"),
        (np.zeros((2, 3072), np.float32), [0, 1], "does not hold bytes"),
        (np.full((2, 3072), None), [0, 1], "does not hold bytes"),
        (np.zeros((2, 3072), np.uint8), [0, 1, 2], r"one label for each image; got 2 images and labels \(3,\)"),
        (np.zeros((2, 3072), np.uint8), [[0], [1]], "its labels must be a list of numbers"),
        (np.zeros((2, 3072), np.uint8), 7, "is not a batch of CIFAR-10: 'int' object is not iterable"),
        (np.zeros((2, 3072), np.uint8), ["cat", "dog"], "is not a batch of CIFAR-10"),
    ],
)
def test_a_batch_of_something_else(
    data: np.ndarray, labels: object, message: str, tmp_path: Path, write_cifar10: Write, pickled_by_python2: Pickled
) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_3").write_bytes(pickled_by_python2({"data": data, "labels": labels}))
    with pytest.raises(DataError, match=f"data_batch_3: .*{message}"):
        read_cifar10(CIFAR10, "train", [tmp_path])


def test_a_missing_batch(tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"data_batch_4: cannot be read: No such file.*Fetch CIFAR-10 again"):
        read_cifar10(CIFAR10, "train", [tmp_path])


@pytest.mark.parametrize("label", [10, -1])
def test_a_label_outside_the_classes(
    label: int, tmp_path: Path, write_cifar10: Write, pickled_by_python2: Pickled
) -> None:
    write_cifar10(tmp_path)
    batch = {"data": np.zeros((1, 3072), np.uint8), "labels": [label]}
    (tmp_path / "data_batch_1").write_bytes(pickled_by_python2(batch))
    with pytest.raises(DataError, match=f"data_batch_1: labels must lie between 0 and 9; got {label} at image 0"):
        load_data(CIFAR10, data_dir=str(tmp_path))


class _Calls:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"data": value, "labels": [value]}])
@pytest.mark.parametrize("function", [os.system, eval])
def test_a_batch_that_would_run_code_runs_none(
    function: Callable[[str], object], wrap: Callable[[object], object], tmp_path: Path, write_cifar10: Write
) -> None:
    write_cifar10(tmp_path)
    marker = tmp_path / "it-ran"
    code = f"touch {marker}" if function is os.system else f"open({str(marker)!r}, 'w').close()"
    content = pickle.dumps(wrap(_Calls(function, code)), protocol=2)
    message = _error(tmp_path, content)
    assert not marker.exists()
    assert f".{function.__name__}, which no batch of CIFAR-10 does" in message
    pickle.loads(content)
    assert marker.exists()


def test_a_batch_cannot_make_numpy_take_memory(tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    batch = {"data": _Calls(np.ndarray, (2**50,)), "labels": [0]}
    message = _error(tmp_path, pickle.dumps(batch, protocol=2))
    assert message == "data must be (images, 3072); got (0,). Fetch it again"


def _laughs(depth: int) -> list[object]:
    """Returns a list of ten lists of ten lists, and so on: each is there once."""
    value: list[object] = [0]
    for _ in range(depth):
        value = [value] * 10
    return value


_IMAGE = np.zeros((1, 3072), np.uint8)
BOMBS = {
    "a place that takes 64 GiB": pickle.PROTO + b"\2" + pickle.EMPTY_DICT + pickle.LONG_BINPUT + b"\xff" * 4 + b".",
    "a place in digits": pickle.EMPTY_DICT + pickle.PUT + b"4000000000\n.",
    "4 GiB of zeros": pickle.PROTO + b"\5" + pickle.BYTEARRAY8 + (2**32).to_bytes(8, "little") + b".",
    "lists of lists": pickle.dumps({"data": _IMAGE, "labels": _laughs(9)}, protocol=2),
    "an encoding that doubles": pickle.dumps({"data": _IMAGE, "labels": _Calls(codecs.encode, "a", "hex")}, protocol=2),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_small_batch_that_would_take_much_memory(content: bytes, tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    with peak() as taken:
        message = _error(tmp_path, content)
    assert message.startswith("is not a batch of CIFAR-10: ")
    assert taken() < MOST_BYTES + 2**22


def test_a_batch_larger_than_any_real_one(tmp_path: Path, write_cifar10: Write) -> None:
    write_cifar10(tmp_path)
    with (tmp_path / "data_batch_3").open("r+b") as file:
        file.truncate(2**33)
    with peak() as taken, pytest.raises(DataError, match="data_batch_3: cannot be read: it is larger than 67,108,864"):
        load_data(CIFAR10, data_dir=str(tmp_path))
    assert taken() < MOST_BYTES + 2**22
