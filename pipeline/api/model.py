"""`load`: an export at work, on image files, arrays and Pillow's images."""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.core.errors import DataError
from pipeline.data.image_files import decode, fit
from pipeline.export.errors import ExportError
from pipeline.export.prediction import check_takes_files, list_images, predict_batch
from pipeline.export.reading import LoadedExport, load_export

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class Predictions:
    """What a model says of images.

    Attributes:
        labels: The most probable class of each image, by name.
        probabilities: (images, classes); with Monte Carlo dropout their mean over the passes.
        class_names: The classes, in the order of the columns.
        spread: (images, classes), standard deviation over the passes of Monte Carlo dropout; None without.
    """

    labels: list[str]
    probabilities: Array
    class_names: tuple[str, ...]
    spread: Array | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Model:
    """A model that was exported.

    Attributes:
        class_names: A name for each class.
        image_shape: (channels, height, width) of the images that it takes.
        metrics: The figures that came with it.
        config: What it was trained by, as plain values; None where that needs plug-ins that are not loaded.
    """

    def __init__(self, export: LoadedExport) -> None:
        self._export = export
        self.class_names, self.image_shape = export.class_names, export.image_shape
        self.metrics = export.metrics
        self.config = None if export.config is None else export.config.to_dict()

    def predict(self, images: Any, *, mc_samples: int | None = None, batch_size: int = 64) -> Predictions:
        """Classifies images.

        Args:
            images: A file, a folder or an image of Pillow's, or a list of these, which are squashed to `image_shape`
                (a folder has all its images in order); or an array (or tensor) as the data set holds images:
                (channels, height, width) or (height, width, channels), with a batch before it or without; the axis of
                one channel may be left out. Bytes from 0 to 255 where the data set had bytes.
            mc_samples: Passes of Monte Carlo dropout; None for a plain prediction.
            batch_size: Images at a time.

        Raises:
            DataError: A file cannot be read; names it.
            ExportError: There is no image, an array does not fit, or Monte Carlo dropout is asked of a network without
                dropout.

        Example:
            >>> found = dnntune.load("model").predict(["one.png", "another.jpg"])
            >>> found.labels, found.probabilities.max(axis=1)
        """
        probabilities, spreads = [], []
        for batch in _batches(self._images(images), batch_size):
            mean, spread = predict_batch(self._export, torch.from_numpy(np.stack(batch)), mc_samples)
            probabilities.append(mean.numpy())
            spreads += [] if spread is None else [spread.numpy()]
        if not probabilities:
            raise ExportError("there must be at least one image to classify; got none")
        found = np.concatenate(probabilities)
        labels = [self.class_names[index] for index in found.argmax(axis=1)]
        return Predictions(labels, found, self.class_names, np.concatenate(spreads) if spreads else None)

    def _images(self, images: Any) -> Iterator[Array]:
        if isinstance(images, str | os.PathLike) or _is_pillow(images):
            images = [images]
        if hasattr(images, "__array__") or isinstance(images, torch.Tensor):
            yield from self._arrays(np.asarray(images))
        elif isinstance(images, Iterable):
            for image in images:
                yield from self._one(image)
        else:
            raise ExportError(f"images are files, arrays or Pillow's images; got {type(images).__name__}")

    def _one(self, image: "Path_ | Image | Array") -> Iterator[Array]:
        if isinstance(image, str | os.PathLike):
            check_takes_files(self._export)
            for file in list_images([Path(image)]):
                yield decode(file, self.image_shape)
        elif _is_pillow(image):
            check_takes_files(self._export)
            try:
                yield fit(image, self.image_shape)  # type: ignore[arg-type]
            except (OSError, ValueError) as error:
                raise DataError(f"an image of Pillow's cannot be used: {error}") from None
        else:
            yield from self._images(image)

    def _arrays(self, array: Array) -> Iterator[Array]:
        """Yields the images of an array, (channels, height, width) each."""
        channels, height, width = self.image_shape
        shapes: dict[tuple[int, ...], tuple[int, ...] | None]
        shapes = {(channels, height, width): (0, 1, 2), (height, width, channels): (2, 0, 1)}
        values = self._typed(array)
        if channels == 1:
            shapes = {**shapes, (height, width): None}
        for shape, axes in shapes.items():
            if values.shape == shape:
                values = values[None]
            if values.shape[1:] == shape:
                yield from values[:, None] if axes is None else values.transpose(0, *(axis + 1 for axis in axes))
                return
        wanted = " x ".join(map(str, self.image_shape))
        raise ExportError(
            f"images must have {wanted} values (channels x height x width), one image or a batch; got an array of "
            f"shape {array.shape}. Give an image of another size as a file or as Pillow's: those are resized"
        )

    def _typed(self, array: Array) -> Array:
        """Returns the values in the type that the model takes."""
        if self._export.dtype == torch.float32 and array.dtype.kind in "fiu":
            return array.astype(np.float32)
        is_bytes = array.dtype == np.uint8
        if self._export.dtype == torch.uint8 and (
            is_bytes or (array.dtype.kind in "iu" and array.size > 0 and array.min() >= 0 and array.max() <= 255)
        ):
            return array.astype(np.uint8)
        rule = "whole numbers from 0 to 255" if self._export.dtype == torch.uint8 else "numbers"
        is_ranged = array.size > 0 and array.dtype.kind in "fiu"
        got = f"{array.dtype}" + (f" from {array.min()} to {array.max()}" if is_ranged else "")
        raise ExportError(f"this model's images are {rule}, as its data set has them; got {got}. Scale the array back")


def load(path: Path_) -> Model:
    """Loads an export, of which nothing is used before its checksum is right; no code is run.

    Args:
        path: The folder that `Study.export`, `train` or the command line has written.

    Raises:
        ExportError: It is no export, or was changed; names the file.

    Example:
        >>> dnntune.load("model").predict("photo.jpg").labels
    """
    return Model(load_export(Path(path)))


def _is_pillow(image: object) -> bool:
    """Whether something is an image of Pillow's, which need not be imported to know."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(image).__mro__)


def _batches(images: Iterator[Array], size: int) -> Iterator[list[Array]]:
    while batch := list(itertools.islice(images, size)):
        yield batch
