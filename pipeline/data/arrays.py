"""Your own images in a NumPy archive: x_train, y_train, x_test, y_test, and x_valid, y_valid if you split yourself."""

import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import DataConfig
from pipeline.core.files import MOST_FROM_A_BYTE, open_regular, reason
from pipeline.data.images import Images, Part
from pipeline.errors import DataError
from pipeline.own_data import archive_file

CHANNELS = (1, 3, 4)
# What zipfile and NumPy raise of damaged files.
_DAMAGE = (
    EOFError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, SyntaxError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip


def read_arrays(part: Part, config: DataConfig, folders: Sequence[Path]) -> Images | None:
    """Reads one part of an .npz file; only that part's arrays are touched.

    Images are (images, height, width), with the channels (1, 3 or 4) in front or at the end if there are any, or
    (images, values). Whole numbers from 0 to 255 are held as bytes, anything else as float32. Labels count from 0.
    """
    file = archive_file(config)
    try:
        with open_regular(file) as stream, np.load(stream, allow_pickle=False) as archive:
            missing = [name for name in (f"x_{part}", f"y_{part}") if name not in archive]
            if len(missing) == 2 and part != "train":
                return None
            if missing:
                found = ", ".join(archive) or "nothing"
                raise DataError(f"{file}: needs the arrays x_{part} and y_{part}; it holds {found}")
            kinds = _kinds(archive.zip, [f"x_{part}", f"y_{part}", "y_train", "x_train"])
            if (found_kind := kinds[f"x_{part}"]) != kinds["x_train"]:
                raise DataError(
                    f"{file}: x_{part} must have the type of x_train, {kinds['x_train']}, and mean the same by each "
                    f"value; got {found_kind}. Write both alike"
                )
            pixels, labels = archive[f"x_{part}"], archive[f"y_{part}"]
            train_labels = labels if part == "train" else archive["y_train"]
    except OSError as error:
        raise DataError(f"{file}: cannot be read as .npz: {reason(error)}. Write it with numpy.savez") from None
    except _DAMAGE as error:
        raise DataError(f"{file}: cannot be read as .npz: {error}. Write it with numpy.savez") from None
    for name, values in (("y_train", train_labels), (f"y_{part}", labels)):
        if not np.issubdtype(values.dtype, np.integer) or values.ndim != 1:
            raise DataError(f"{file}: {name} must be whole numbers, (images,); got {values.dtype}, {values.shape}")
    num_classes = int(train_labels.max(initial=0)) + 1
    if num_classes > max(len(train_labels), 1):  # said here: a stray label of 2^32 would need as many names
        raise DataError(
            f"{file}: every class needs images; y_train has {len(train_labels)} labels and the label "
            f"{num_classes - 1}. Number the classes from 0, without gaps"
        )
    names = tuple(str(label) for label in range(num_classes))
    return Images(_pixels(pixels, f"{file}: x_{part}"), labels.astype(np.int64), names, f"{file}: {part}")


def _kinds(archive: zipfile.ZipFile, names: Sequence[str]) -> dict[str, Any]:
    """Returns the arrays' types, and proves that they are as large as they say and fit into this machine's memory.

    Nothing is allocated: a few bytes can announce terabytes.

    Raises:
        ValueError: An array is larger or smaller than it says, or too large.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    kinds = {}
    for name in names:
        entry = archive.getinfo(f"{name}.npy")
        with archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, _, kinds[name] = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, _, kinds[name] = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"{name} is in version {version} of NumPy's format; only 1 and 2 hold numbers alone")
            announced, there = math.prod(shape) * kinds[name].itemsize, entry.file_size - stream.tell()
        if kinds[name].hasobject:
            continue  # NumPy says so itself
        if announced != there or entry.file_size > MOST_FROM_A_BYTE * (entry.compress_size + 1):
            raise ValueError(
                f"{name} announces {announced:,} bytes ({shape}), and there are {there:,}, of {entry.compress_size:,} "
                "in the archive"
            )
        if announced > memory:
            raise ValueError(f"{name} takes {announced:,} bytes, and this machine has {memory:,}")
    return kinds


def _pixels(values: Any, origin: str) -> Any:
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise DataError(f"{origin} must be numbers; got {values.dtype}")
    if values.ndim == 2:
        values = values[:, None, None, :]
    elif values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[1] in CHANNELS and values.shape[3] in CHANNELS:
        raise DataError(
            f"{origin} may have its channels in front or at the end; got {values.shape}. Crop or pad the images so "
            "that neither their height nor their width is 1, 3 or 4"
        )
    elif values.ndim == 4 and values.shape[1] not in CHANNELS and values.shape[3] in CHANNELS:
        values = values.transpose(0, 3, 1, 2)
    elif values.ndim != 4 or values.shape[1] not in CHANNELS:
        raise DataError(f"{origin} must be (images, height, width) with 1, 3 or 4 channels or none; got {values.shape}")
    if values.size and np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() <= 255:
        return np.ascontiguousarray(values, dtype=np.uint8)
    return np.ascontiguousarray(values, dtype=np.float32)
