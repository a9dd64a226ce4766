"""What an export says of image files: what `dnntune predict` does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.data.columns import Column, encode
from pipeline.data.image_files import MODES, decode, find_images
from pipeline.data.sources.table_file import read_table_file
from pipeline.export.errors import ExportError
from pipeline.export.reading import LoadedExport


@dataclass(frozen=True)
class Prediction:
    """What an image shows, probably.

    Attributes:
        file: The image, or the table and its row (FILE:ROW, from 1).
        probabilities: Of each class, in the classes' order; with Monte Carlo dropout their mean over the passes.
        spread: Their standard deviation over the passes of Monte Carlo dropout; None without.
    """

    file: Path
    probabilities: tuple[float, ...]
    spread: tuple[float, ...] | None = None

    @property
    def label(self) -> int:
        """The most probable class, by its place."""
        return self.order()[0]

    def order(self) -> list[int]:
        """Returns the classes, most probable first."""
        return sorted(range(len(self.probabilities)), key=lambda index: -self.probabilities[index])


def predict_files(
    export: LoadedExport, paths: Sequence[Path], *, batch_size: int = 64, mc_samples: int | None = None
) -> Iterator[Prediction | DataError]:
    """Classifies image files; with a model of a table's columns, the rows of tables.

    Args:
        export: The model.
        paths: Files, and folders of them; or tables.
        batch_size: Images at a time.
        mc_samples: Passes of Monte Carlo dropout; None for a plain prediction.

    Yields:
        For each file in order a prediction, or the error that says why it cannot be read.

    Raises:
        ExportError: There are no files, the model does not take images, or Monte Carlo dropout is asked of a network
            without dropout.
    """
    if export.columns is not None:
        yield from _predict_rows(export, export.columns, paths, batch_size, mc_samples)
        return
    check_takes_files(export)
    found = list_images(paths)
    for files in (found[start : start + batch_size] for start in range(0, len(found), batch_size)):
        read = [_read(file, export.image_shape) for file in files]
        images = [image for image in read if not isinstance(image, DataError)]
        predictions = iter(_predict(export, images, mc_samples) if images else ())
        for file, image in zip(files, read, strict=True):
            yield image if isinstance(image, DataError) else Prediction(file, *next(predictions))


def _predict_rows(
    export: LoadedExport, columns: Sequence[Column], tables: Sequence[Path], batch_size: int, mc_samples: int | None
) -> Iterator[Prediction]:
    """Yields a prediction for each row of tables, as FILE:ROW, counted from 1.

    Raises:
        DataError: A table cannot be read, or a row of it not be encoded.
    """
    for file in tables:
        cells = read_table_file(file)
        rows = range(len(next(iter(cells.values()))))
        values = encode(columns, cells, rows, str(file))
        for start in range(0, len(rows), batch_size):
            predictions = _predict(export, list(values[start : start + batch_size]), mc_samples)
            for row, prediction in enumerate(predictions, start + 1):
                yield Prediction(Path(f"{file}:{row}"), *prediction)


def check_takes_files(export: LoadedExport) -> None:
    """Checks that a model's images may come from image files.

    Raises:
        ExportError: They may not.
    """
    channels, height, width = export.image_shape
    if export.dtype != torch.uint8 or channels not in MODES or 1 in (height, width):
        raise ExportError(
            f"image files have bytes in rows and columns; this model takes {export.dtype} values of shape "
            f"{channels} x {height} x {width}. Give it arrays: dnntune.load(DIR).predict(ARRAY), in Python"
        )


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Returns the files that are named, and in folders all images, in order; see `find_images`.

    A file that does not exist is returned: reading it says so.

    Raises:
        ExportError: There is none.
    """
    files = [file for path in paths for file in (sorted(find_images(path)) if path.is_dir() else [path])]
    if not files:
        raise ExportError(f"there must be an image to classify; found none in {', '.join(map(str, paths))}")
    return files


def _predict(
    export: LoadedExport, images: Sequence["np.ndarray[tuple[int, ...], Any]"], mc_samples: int | None
) -> Iterator[tuple[tuple[float, ...], tuple[float, ...] | None]]:
    mean, spread = predict_batch(export, torch.from_numpy(np.stack(images)), mc_samples)
    if spread is None:
        return ((tuple(row), None) for row in mean.tolist())
    return ((tuple(row), tuple(of_row)) for row, of_row in zip(mean.tolist(), spread.tolist(), strict=True))


def predict_batch(export: LoadedExport, images: Tensor, mc_samples: int | None) -> tuple[Tensor, Tensor | None]:
    """Returns probabilities, (batch, classes), and with Monte Carlo dropout their spread, see `LoadedExport.sampled`.

    Args:
        export: The model.
        images: (batch, channels, height, width).
        mc_samples: Passes of Monte Carlo dropout; None for a plain prediction.
    """
    return (export.probabilities(images), None) if mc_samples is None else export.sampled(images, samples=mc_samples)


def _read(file: Path, shape: tuple[int, int, int]) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | DataError":
    try:
        pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = decode(file, shape)
    except DataError as error:
        return error
    return pixels
