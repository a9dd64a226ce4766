"""Random images in a given shape: to see what a network does before there are data for it."""

import re

import torch

from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData, LabeledImages

NUM_IMAGES = 4096
NUM_CLASSES = 10


def noise(shape: str, device: torch.device) -> ImageData:
    """Returns standard normal images with random labels of ten classes; always the same ones.

    Args:
        shape: ``channels x height x width``, such as ``3x32x32``.
        device: Where to keep them.

    Raises:
        DataError: The shape is not of that form.
    """
    if not (found := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", shape)):
        raise DataError(f"a shape is CHANNELSxHEIGHTxWIDTH, such as 3x32x32; got {shape!r}")
    channels, height, width = map(int, found.groups())
    generator = torch.Generator().manual_seed(0)
    images = LabeledImages(
        torch.randn(NUM_IMAGES, channels, height, width, generator=generator).to(device),
        torch.randint(0, NUM_CLASSES, (NUM_IMAGES,), generator=generator).to(device),
        torch.zeros(1, channels, 1, 1, device=device),
        torch.ones(1, channels, 1, 1, device=device),
    )
    return ImageData(images, images, tuple(map(str, range(NUM_CLASSES))))
