"""What a plug-in's reader returns, as a part of a data set: arrays, or any map-style data set of torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.data.images import Images


def images_of(made: Any, origin: str) -> Images:
    """Returns what a reader has returned as images.

    Args:
        made: (images, labels) or (images, labels, class names), arrays or tensors; or a data set with a length whose
            items are (image, label), and which may have the names in ``classes``. Images are (height, width) or
            (channels, height, width); bytes, or floats of any range; of PIL, too. Labels count from 0.
        origin: The data's kind, for messages.

    Raises:
        DataError: It is neither, or images differ in shape.
    """
    if isinstance(made, tuple) and len(made) in (2, 3):
        pixels, labels, *names = made
        class_names = names[0] if names else None
    elif hasattr(made, "__getitem__") and hasattr(made, "__len__"):
        items = [made[index] for index in range(len(made))]
        pixels, labels = [np.asarray(image) for image, _ in items], [int(label) for _, label in items]
        class_names = getattr(made, "classes", None)
    else:
        raise DataError(
            f"{origin}: a reader returns (images, labels), (images, labels, class names), a data set with a length, or "
            f"None for a part that there is not; got {type(made).__name__}"
        )
    numbers = np.asarray(labels)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(f"{origin}: labels must be whole numbers, one for each image; got {numbers.dtype}")
    if class_names is None:
        class_names = [str(label) for label in range(int(numbers.max(initial=-1)) + 1)]
    return Images(_pixels(pixels, origin), numbers.astype(np.int64), tuple(map(str, class_names)), origin)


def _pixels(images: Any | Sequence[Any], origin: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    if isinstance(images, list) and len({image.shape for image in images}) > 1:
        shapes = sorted({image.shape for image in images})
        raise DataError(f"{origin}: all images must have one shape; got {shapes[0]} and {shapes[1]}. Resize them")
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4:
        raise DataError(
            f"{origin}: images must be (images, channels, height, width) or (images, height, width); got {pixels.shape}"
        )
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
