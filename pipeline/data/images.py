"""Images and labels as a source hands them over, checked; NumPy only."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.data.columns import Column

Split = Literal["train", "valid", "test"]
# Parts of one kind of images differ by less; 0 to 1 beside 0 to 255 is a factor of 255.
MOST_RANGE_RATIO = 16
_IMAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class Images:
    """One part of a data set.

    Attributes:
        pixels: (images, channels, height, width); uint8, or float32 where a source has no bytes.
        labels: (images,), int64, from 0 to the number of classes - 1.
        class_names: A name for each class.
        origin: The file or folder it came from, for messages.
        columns: Which columns of a table the values, its channels, were made of; None where they come from none.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    origin: str
    columns: tuple[Column, ...] | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def take(self, rows: NDArray[np.int64]) -> "Images":
        """Returns the images at the given rows."""
        return Images(self.pixels[rows], self.labels[rows], self.class_names, self.origin, self.columns)


def check(images: Images, split: Split) -> Images:
    """Returns the images unchanged.

    Raises:
        DataError: There are none, labels and images do not pair up, a label lies outside the classes, a value is not
            finite, or, in the training set, a class has no image or there is one class only.
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
    if split == "train":
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


@dataclass(frozen=True)
class Range:
    """In which unit the values of some images are, as far as they show it.

    Attributes:
        low: The smallest value.
        high: The largest one.
        mean_size: The mean of the values without their signs.
    """

    low: float
    high: float
    mean_size: float

    @property
    def size(self) -> float:
        """The largest value without its sign."""
        return max(abs(self.low), abs(self.high))

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g} (mean size {self.mean_size:.3g})"

    def exceeds(self, other: "Range") -> bool:
        """Returns whether these values are of a larger unit; False where all of either are 0, which says nothing."""
        if not other.mean_size:
            return False
        return self.size > MOST_RANGE_RATIO * other.size and self.mean_size > MOST_RANGE_RATIO * other.mean_size


def range_of(pixels: NDArray[Any]) -> Range:
    """Returns the range of images (images, channels, height, width), without a copy of them all."""
    total = 0.0
    for begin in range(0, len(pixels), _IMAGES_AT_ONCE):
        chunk = pixels[begin : begin + _IMAGES_AT_ONCE]
        total += float((chunk if chunk.dtype == np.uint8 else np.abs(chunk)).sum(dtype=np.float64))
    return Range(float(pixels.min()), float(pixels.max()), total / pixels.size)


def prove_same_range(train: Range, other: Images) -> None:
    """Proves that a part's values mean the same as those of the training set.

    They do not if both their largest value and their mean, signs left out, differ by more than a factor of
    `MOST_RANGE_RATIO` in the same direction. Dark images have bright points, and a rare outlier does not move a mean,
    so that natural images stay far below; those divided by 255 in one part alone lie far above.

    Args:
        train: The training set's.
        other: The other part.

    Raises:
        DataError: They do not.
    """
    found = range_of(other.pixels)
    if found.exceeds(train) or train.exceeds(found):
        raise DataError(
            f"{other.origin}: values must mean the same as in training, where they go {train}; these go {found}. "
            "Divide or multiply all parts by the same number, or none"
        )
