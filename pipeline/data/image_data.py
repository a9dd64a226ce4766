"""A data set on the training device: bytes held once, batches indexed out of them and standardized there."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.data.images import Images


@dataclass(frozen=True)
class LabeledImages:
    """One part of a data set, on a device.

    Attributes:
        images: (images, channels, height, width); uint8, or float32 where the source has no bytes.
        labels: (images,), int64.
        mean: Mean of the training images by channel, (1, channels, 1, 1), in the images' own unit.
        scale: 1 / standard deviation of the training images by channel, (1, channels, 1, 1).
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the standardized images (batch, channels, height, width) and labels (batch,) at the given rows."""
        return self._standardized(self.images.index_select(0, rows)), self.labels.index_select(0, rows)

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns the standardized images and labels from one row up to another."""
        return self._standardized(self.images[start:stop]), self.labels[start:stop]

    def _standardized(self, images: Tensor) -> Tensor:
        # A slice of float32 images is the data set itself: without the copy, it would be standardized in place.
        return images.to(torch.float32, copy=True).sub_(self.mean).mul_(self.scale)


@dataclass(frozen=True)
class ImageData:
    """What a study may see: the training and the validation part. The test part is not here.

    Attributes:
        train: Images to learn from.
        valid: Images to compare configurations with.
        class_names: A name for each class.
    """

    train: LabeledImages
    valid: LabeledImages
    class_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Returns mean and 1 / standard deviation by channel, each (1, channels, 1, 1).

    A channel without variation has scale 1.
    """
    means, scales = [], []
    for channel in range(images.pixels.shape[1]):
        values = images.pixels[:, channel]
        if values.dtype == np.uint8:  # exact, and without a copy of the images as floats
            counts = torch.from_numpy(values.reshape(-1)).bincount(minlength=256).numpy()
            levels = np.arange(256.0)
            mean = (counts * levels).sum() / counts.sum()
            deviation = np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum())
        else:
            mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        means.append(float(mean))
        scales.append(1.0 / float(deviation) if deviation > 0.0 else 1.0)
    shape = (1, len(means), 1, 1)
    return torch.tensor(means).view(shape), torch.tensor(scales).view(shape)


def to_device(images: Images, mean: Tensor, scale: Tensor, device: torch.device) -> LabeledImages:
    """Puts a part of a data set on a device."""
    pixels = images.pixels if images.pixels.flags.writeable else images.pixels.copy()
    return LabeledImages(
        torch.from_numpy(pixels).to(device),
        torch.from_numpy(images.labels).to(device),
        mean.to(device),
        scale.to(device),
    )
