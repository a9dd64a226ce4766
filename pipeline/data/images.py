"""Images and labels as a source hands them over, checked; NumPy only."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Part = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Images:
    """One part of a data set.

    Attributes:
        pixels: (images, channels, height, width); uint8, or float32 where a source has no bytes.
        labels: (images,), int64, from 0 to the number of classes - 1.
        class_names: A name for each class.
        origin: The file or folder it came from, for messages.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    origin: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def take(self, rows: NDArray[np.int64]) -> "Images":
        """Returns the images at the given rows."""
        return Images(self.pixels[rows], self.labels[rows], self.class_names, self.origin)


def check(images: Images, part: Part) -> Images:
    """Returns the images unchanged.

    Raises:
        DataError: There are none, labels and images do not pair up, a label lies outside the classes, a value is not
            finite, or, in the training part, a class has no image or there is one class only.
    """
    pixels, labels, origin = images.pixels, images.labels, images.origin
    if len(pixels) != len(labels):
        raise DataError(f"{origin}: needs one label for each image; got {len(pixels)} images and {len(labels)} labels")
    if pixels.size == 0:
        raise DataError(f"{origin}: holds no images; its shape is {' x '.join(map(str, pixels.shape))}")
    outside = (labels < 0) | (labels >= images.num_classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{origin}: labels must lie between 0 and {images.num_classes - 1}; got {labels[row]} at image {row}"
        )
    if pixels.dtype != np.uint8:
        bad = ~np.isfinite(pixels).all(axis=(1, 2, 3))
        if bad.any():
            raise DataError(f"{origin}: pixel values must be finite; image {int(bad.argmax())} has NaN or infinity")
    if part == "train":
        if images.num_classes < 2:
            raise DataError(
                f"{origin}: needs images of at least 2 classes; all {len(labels):,} are of one. Add another"
            )
        counts = np.bincount(labels, minlength=images.num_classes)
        if (counts == 0).any():
            empty = int(counts.argmin())
            raise DataError(
                f"{origin}: every class needs images; class {empty} ({images.class_names[empty]}) has none. "
                "Number the classes without gaps, or add images"
            )
    return images
