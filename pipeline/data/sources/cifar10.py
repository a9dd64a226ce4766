"""CIFAR-10 in its Python version: five training batches and a test batch, each a pickled dictionary."""

import io
import pickle
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.data import Cifar10
from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import read_bounded, reason
from pipeline.data.images import Images, Split
from pipeline.data.sources.folders import download
from pipeline.data.sources.user_data import CIFAR10_FILES, CIFAR10_FOLDER, find_file

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BYTES_PER_IMAGE = 3 * 32 * 32
# Twice a real batch of 10,000 images.
MOST_BYTES = 2**26


def read_cifar10(_config: Cifar10, split: Split, folders: Sequence[Path]) -> Images | None:
    """Reads CIFAR-10 (Krizhevsky, 2009): 32 x 32 color images of 10 kinds of things."""
    if split == "valid":
        return None
    first = find_file([f"{CIFAR10_FOLDER}/{CIFAR10_FILES[split][0]}", CIFAR10_FILES[split][0]], folders)
    folder = (
        first.parent if first is not None else download("CIFAR10", CIFAR10_FOLDER, _fetch, folders) / CIFAR10_FOLDER
    )
    batches = [_read_batch(folder / file) for file in CIFAR10_FILES[split]]
    pixels = np.concatenate([batch[0] for batch in batches])
    labels = np.concatenate([batch[1] for batch in batches])
    return Images(pixels, labels, CLASSES, str(folder / CIFAR10_FILES[split][0]))


def _fetch(root: str) -> None:
    import torchvision.datasets  # slow to import, and needed for a download only

    torchvision.datasets.CIFAR10(root, download=True)


class _PickledType:
    """Stands in for `numpy.dtype`."""

    def __init__(self, *arguments: Any) -> None:
        self.code = arguments[0] if arguments else None

    def __setstate__(self, state: Any) -> None:
        """Takes nothing: one byte has neither fields nor byte order."""


class _PickledArray:
    """Stands in for `numpy.ndarray`, which would trust the file with its memory: a damaged one crashes Python."""

    def __init__(self, *_arguments: Any) -> None:
        self.pixels = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, column_major, content = state
        if getattr(kind, "code", None) not in ("u1", b"u1"):
            raise ValueError("its array does not hold bytes")
        content = content.encode("latin1") if isinstance(content, str) else content
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape, order="F" if column_major else "C")


# What unpickling a damaged file raises; a wrong length can ask for any amount of memory.
_DAMAGE = (
    pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, OverflowError, MemoryError,
)  # fmt: skip


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for `codecs.encode`, which also has encodings that make a text longer, again and again."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it is encoded as {encoding!r:.50}, and not as latin1")
    return text.encode("latin1")


# Python 2 wrote the real batches; the others are what today's Python and NumPy write for the same dictionary.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _encode,
}
# Python's unpickler keeps values in a table as long as the largest place that a pickle names.
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


class _BatchUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of arrays of bytes and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch of CIFAR-10 does")
        return _STAND_INS[module, name]


def _prove_modest(content: bytes) -> None:
    """Proves that a pickle's instructions take no more memory than they stand for themselves.

    Raises:
        UnpicklingError: One of them would take any amount at once.
    """
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "BYTEARRAY8" or (operation.name in _PUTS and int(argument or 0) > len(content)):
            raise pickle.UnpicklingError(f"{operation.name} would take any amount of memory")


def _read_batch(file: Path) -> tuple[Any, Any]:
    try:
        content = read_bounded(file, MOST_BYTES)
        _prove_modest(content)
        batch = _BatchUnpickler(io.BytesIO(content), encoding="latin1").load()
        pixels, labels = batch["data"].pixels, batch["labels"]
        if any(isinstance(label, list | tuple | dict) for label in labels):
            raise ValueError("its labels must be a list of numbers")
        labels = np.asarray(labels, dtype=np.int64)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {reason(error)}. Fetch CIFAR-10 again") from None
    except _DAMAGE as error:
        raise DataError(f"{file}: is not a batch of CIFAR-10: {error or 'truncated'}. Fetch it again") from None
    if pixels.ndim != 2 or pixels.shape[1] != BYTES_PER_IMAGE:
        raise DataError(f"{file}: data must be (images, {BYTES_PER_IMAGE}); got {pixels.shape}. Fetch it again")
    if labels.shape != pixels.shape[:1]:
        raise DataError(f"{file}: needs one label for each image; got {len(pixels)} images and labels {labels.shape}")
    return pixels.reshape(-1, 3, 32, 32), labels
