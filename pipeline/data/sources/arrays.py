"""Your own images in a NumPy archive: x_train, y_train, x_test, y_test, and x_valid, y_valid if you split yourself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.data import Arrays
from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import open_regular, reason
from pipeline.data.images import Images, Split
from pipeline.data.sources.user_data import (
    CHANNELS,
    DAMAGE,
    archive_file,
    archive_headers,
    array_names,
    channels_first,
    prove_headers,
)


def read_arrays(config: Arrays, split: Split, _folders: Sequence[Path]) -> Images | None:
    """Reads one part of an .npz file; only that part's arrays are touched.

    Images are (images, height, width), with the channels (1, 3 or 4) in front or at the end if there are any, or
    (images, values). Whole numbers from 0 to 255 are held as bytes, anything else as float32. Labels are words, or
    count from 0 or 1. ``X_train`` is ``x_train``.
    """
    file = archive_file(config)
    try:
        with open_regular(file) as stream, np.load(stream, allow_pickle=False) as archive:
            written = array_names(archive)
            written = array_names(archive)
            missing = [name for name in (f"x_{split}", f"y_{split}") if name not in written]
            if len(missing) == 2 and split != "train":
                return None
            if missing:
                found = ", ".join(archive) or "nothing"
                raise DataError(f"{file}: needs the arrays x_{split} and y_{split}; it holds {found}")
            splits = tuple(dict.fromkeys(("train", split)))
            prove_headers(file, archive_headers(archive.zip, splits), splits)
            pixels, labels = archive[written[f"x_{split}"]], archive[written[f"y_{split}"]]
            train_labels = labels if split == "train" else archive[written["y_train"]]
    except OSError as error:
        raise DataError(f"{file}: cannot be read as .npz: {reason(error)}. Write it with numpy.savez") from None
    except DAMAGE as error:
        raise DataError(f"{file}: cannot be read as .npz: {error}. Write it with numpy.savez") from None
    names, numbers = _numbered(labels, train_labels, file, split)
    return Images(_pixels(pixels, f"{file}: x_{split}"), numbers, names, f"{file}: {split}")


def _numbered(labels: Any, train_labels: Any, file: Path, split: Split) -> tuple[tuple[str, ...], Any]:
    """Returns the classes' names, and each label's place among them.

    Raises:
        DataError: The classes have gaps, or a label is none of the training set's.
    """
    if (train_labels.dtype.kind == "U") != (labels.dtype.kind == "U"):
        raise DataError(
            f"{file}: y_{split} must have labels as y_train has, {train_labels.dtype}; got {labels.dtype}. "
            "Write both alike"
        )
    classes = np.unique(train_labels)
    if train_labels.dtype.kind == "U" or (len(classes) and classes[0] == 1 and classes[-1] == len(classes)):
        unknown = ~np.isin(labels, classes)
        if unknown.any():
            row = int(unknown.argmax())
            raise DataError(
                f"{file}: y_{split} must have labels that y_train has; got {labels[row]} at image {row}. Correct it"
            )
        return tuple(map(str, classes)), np.searchsorted(classes, labels).astype(np.int64)
    num_classes = int(train_labels.max(initial=0)) + 1
    if num_classes > max(len(train_labels), 1):  # said here: a stray label of 2^32 would need as many names
        raise DataError(
            f"{file}: every class needs images; y_train has {len(train_labels)} labels and the label "
            f"{num_classes - 1}. Number the classes from 0, without gaps"
        )
    return tuple(map(str, range(num_classes))), labels.astype(np.int64)


def _pixels(values: Any, origin: str) -> Any:
    shape = channels_first(values.shape, origin)
    values = values.reshape(shape) if values.shape[1] in CHANNELS or values.ndim < 4 else values.transpose(0, 3, 1, 2)
    if values.size and np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() <= 255:
        return np.ascontiguousarray(values, dtype=np.uint8)
    return np.ascontiguousarray(values, dtype=np.float32)
