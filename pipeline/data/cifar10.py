"""CIFAR-10 in its Python version: five training batches and a test batch, each a pickled dictionary."""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import DataConfig
from pipeline.data.folders import download, find_file
from pipeline.data.images import Images, Part
from pipeline.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-py"
FILES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
BYTES_PER_IMAGE = 3 * 32 * 32


def read_cifar10(part: Part, config: DataConfig, folders: Sequence[Path]) -> Images | None:
    """Reads CIFAR-10 (Krizhevsky, 2009): 32 x 32 color images of 10 kinds of things."""
    if part == "valid":
        return None
    first = find_file([f"{FOLDER}/{FILES[part][0]}", FILES[part][0]], folders)
    folder = first.parent if first is not None else download("CIFAR10", _fetch, folders) / FOLDER
    batches = [_read_batch(folder / file) for file in FILES[part]]
    pixels = np.concatenate([batch[0] for batch in batches])
    labels = np.concatenate([batch[1] for batch in batches])
    return Images(pixels, labels, CLASSES, str(folder / FILES[part][0]))


def _fetch(root: str) -> None:
    import torchvision.datasets  # slow to import, and needed for a download only

    torchvision.datasets.CIFAR10(root, download=True)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of arrays and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return super().find_class("numpy._core.multiarray", name)
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch of CIFAR-10 does")


def _read_batch(file: Path) -> tuple[Any, Any]:
    try:
        batch = _ArrayUnpickler(io.BytesIO(file.read_bytes()), encoding="latin1").load()
        pixels = np.asarray(batch["data"])
        labels = np.asarray(batch["labels"], dtype=np.int64)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}. Fetch CIFAR-10 again") from None
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{file}: is not a batch of CIFAR-10: {error or 'truncated'}. Fetch it again") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != BYTES_PER_IMAGE:
        raise DataError(f"{file}: data must be bytes, (images, {BYTES_PER_IMAGE}); got {pixels.dtype}, {pixels.shape}")
    if len(labels) != len(pixels):
        raise DataError(f"{file}: needs one label for each image; got {len(pixels)} images and {len(labels)} labels")
    return pixels.reshape(-1, 3, 32, 32), labels
