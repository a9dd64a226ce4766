"""MNIST and Fashion-MNIST: files in the IDX format (LeCun et al., 1998), compressed or not."""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.config.data import FashionMnist, Mnist
from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import MOST_FROM_A_BYTE, open_regular, reason
from pipeline.core.processes.machine import memory_bytes
from pipeline.data.images import Images, Split
from pipeline.data.sources.folders import download
from pipeline.data.sources.user_data import DOWNLOADED, idx_files

FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MNIST_CLASSES = tuple(str(digit) for digit in range(10))
_UNSIGNED_BYTES = 8


def read_fashion_mnist(_config: FashionMnist, split: Split, folders: Sequence[Path]) -> Images | None:
    """Reads Fashion-MNIST (Xiao et al., 2017): 28 x 28 gray images of 10 kinds of clothing."""
    return _read(split, "fashion_mnist", FASHION_MNIST_CLASSES, folders)


def read_mnist(_config: Mnist, split: Split, folders: Sequence[Path]) -> Images | None:
    """Reads MNIST: 28 x 28 gray images of handwritten digits."""
    return _read(split, "mnist", MNIST_CLASSES, folders)


def _read(split: Split, name: str, class_names: tuple[str, ...], folders: Sequence[Path]) -> Images | None:
    if split == "valid":
        return None
    found, product = idx_files(name, split, folders), DOWNLOADED[name]
    if missing := [file for file, place in found.items() if place is None]:
        folder = download(f"{product} ({' and '.join(missing)})", product, lambda root: _fetch(product, root), folders)
        found = idx_files(name, split, [folder])
    files_there = [place for place in found.values() if place is not None]
    if len(files_there) < len(found):
        raise DataError(f"{product}: its download lacks {' or '.join(found)}. Fetch it again")
    pixels, labels = read_idx(files_there[0], num_dimensions=3), read_idx(files_there[1], num_dimensions=1)
    return Images(pixels[:, None], labels.astype(np.int64), class_names, str(files_there[1]))


def _fetch(name: str, root: str) -> None:
    import torchvision.datasets  # slow to import, and needed for a download only

    getattr(torchvision.datasets, name)(root, download=True)


def read_idx(file: Path, *, num_dimensions: int) -> NDArray[np.uint8]:
    """Reads a file of unsigned bytes in the IDX format.

    Args:
        file: The file; unpacked if it ends in ``.gz``.
        num_dimensions: How many dimensions its array must have.

    Raises:
        DataError: It is no such file, or it is truncated or damaged.
    """
    try:
        with open_regular(file) as stream:
            if file.suffix != ".gz":
                return _array(stream, file, num_dimensions, most=os.fstat(stream.fileno()).st_size)
            with gzip.GzipFile(fileobj=stream) as unpacked:
                most = MOST_FROM_A_BYTE * os.fstat(stream.fileno()).st_size
                return _array(unpacked, file, num_dimensions, most=most)
    except (OSError, EOFError, zlib.error) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise DataError(f"{file}: cannot be read: {why}. Fetch it again") from None


def _array(stream: BinaryIO | gzip.GzipFile, file: Path, num_dimensions: int, *, most: int) -> NDArray[np.uint8]:
    """Reads what a header announces and one byte more, so that no archive decides how much memory it takes.

    Args:
        stream: Gives the file's content.
        file: The file, for messages.
        num_dimensions: How many dimensions its array must have.
        most: How many bytes the stream can give at most.
    """
    length = 4 * (1 + num_dimensions)
    header = stream.read(length)
    expected = bytes([0, 0, _UNSIGNED_BYTES, num_dimensions])
    if header[:4] != expected or len(header) < length:
        raise DataError(
            f"{file}: must begin with the IDX header {expected.hex()}; got {header[:4].hex() or 'nothing'}. "
            "It is not the file its name says; fetch it again"
        )
    shape = struct.unpack(f">{num_dimensions}I", header[4:])
    size, announced = math.prod(shape), " x ".join(map(str, shape))
    if size > memory_bytes():
        raise DataError(
            f"{file}: its header announces {size:,} bytes ({announced}), and this machine has {memory_bytes():,} of "
            "memory. It is damaged; fetch it again"
        )
    content = stream.read(size + 1) if size <= most else b""
    if len(content) == size:
        return np.frombuffer(content, np.uint8).reshape(shape)
    got = f"more than {size:,}" if len(content) > size else f"{len(content):,}" if size <= most else f"at most {most:,}"
    raise DataError(
        f"{file}: its header announces {size:,} bytes ({announced}); got {got}. It is truncated or damaged; fetch it "
        "again"
    )
