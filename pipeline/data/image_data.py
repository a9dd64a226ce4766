"""A data set on the training device: bytes held once, batches indexed out of them and prepared there."""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.columns import Column
from pipeline.data.images import Images, Range
from pipeline.records.classes import ClassCounts

Change = Callable[[Tensor], Tensor]

# Values evaluated at once: few enough for a processor's cache, enough to keep a GPU busy.
VALUES_PER_CHUNK = {"cpu": 2**21, "cuda": 2**25}


class Examples(Protocol):
    """What a network is trained or measured on: images, or features that frozen layers gave for them."""

    @property
    def labels(self) -> Tensor:
        """(examples,), int64, on the training device."""

    @property
    def chunk_size(self) -> int:
        """How many examples to evaluate at once."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor, change: Change | None = None) -> tuple[Tensor, Tensor]:
        """Returns a network's input (batch, ...) and labels (batch,) at the given rows; ``change`` augments images."""

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns inputs and labels from one row up to another."""


@dataclass(frozen=True)
class LabeledImages:
    """One part of a data set, on a device.

    Attributes:
        images: (images, channels, height, width); uint8, or float32 where the source has no bytes.
        labels: (images,), int64.
        mean: What is subtracted, by channel, (1, channels, 1, 1), in the images' own unit: the training images' mean.
            Three values make three channels of a gray image's one.
        scale: What it is multiplied with then, likewise: 1 / standard deviation.
        image_size: Height and width in pixels that images are brought to; None leaves them as they are.
        rows: (images,), int64, each image's place among all of `ImageData`, in the order of the source; None where the
            images come from none.
        columns: See `Images`.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    scale: Tensor
    image_size: int | None = None
    rows: Tensor | None = None
    columns: tuple[Column, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_numbers(self) -> bool:
        """Whether the data are rows of numbers, each a channel of its own, and no images."""
        return self.images.shape[2:] == (1, 1)

    @property
    def chunk_size(self) -> int:
        values = max(self.images[0].numel(), self.mean.numel() * (self.image_size or 0) ** 2)
        return max(1, VALUES_PER_CHUNK[self.labels.device.type] // values)

    def batch(self, rows: Tensor, change: Change | None = None) -> tuple[Tensor, Tensor]:
        """Returns prepared images (batch, channels, height, width) and labels (batch,) at the given rows.

        Args:
            rows: (batch,).
            change: Augments images, as the data set holds them.
        """
        images = self.images.index_select(0, rows)
        return self.prepare(images if change is None else change(images)), self.labels.index_select(0, rows)

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns prepared images and labels from one row up to another."""
        return self.prepare(self.images[start:stop]), self.labels[start:stop]

    def first(self, count: int | None) -> "LabeledImages":
        """Returns the first images, at most so many; all of them if that is None."""
        if count is None:
            return self
        return replace(self, images=self.images[:count], labels=self.labels[:count], rows=None)

    def prepare(self, images: Tensor) -> Tensor:
        """Returns standardized images of the right size (batch, channels, height, width), float32."""
        if self.mean.shape[1] == images.shape[1]:
            # A slice of float32 images is the data set itself: without the copy, it would be standardized in place.
            prepared = images.to(torch.float32, copy=True).sub_(self.mean).mul_(self.scale)
        else:
            prepared = images.to(torch.float32).sub(self.mean).mul_(self.scale)
        if self.image_size is None:
            return prepared
        if prepared.shape[2:] != (size := (self.image_size, self.image_size)):
            prepared = functional.interpolate(prepared, size=size, mode="bilinear", antialias=True)
        # Convolutions are about twice as fast on it.
        return prepared.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Fold:
    """One fold of a data set: the rows of `ImageData` to learn from and to validate on, and the former's statistics.

    Attributes:
        train: (images,), int64, ascending, on the images' device.
        valid: Likewise; the fold itself.
        mean: See `LabeledImages.mean`.
        scale: See `LabeledImages.scale`.
    """

    train: Tensor
    valid: Tensor
    mean: Tensor
    scale: Tensor

    def standardized(self, images: LabeledImages) -> LabeledImages:
        """Returns images standardized by those that are learned from in this fold."""
        return replace(images, mean=self.mean, scale=self.scale)


@dataclass(frozen=True)
class ImageData:
    """What a study may see: the training and the validation set. The test set is not here.

    Data in folds have all their images in both parts: each is learned from, and each is validated on once.

    Attributes:
        train: Images to learn from.
        valid: Images to compare configurations with.
        class_names: A name for each class.
        num_repeated: Validation images that are among the training images, too: those say nothing of new images.
        train_range: In which unit the training images are, and a test set has to be; None where none was read.
        folds: The folds; none where there is one split.
        whole: Of one fold's data: those of all folds.
    """

    train: LabeledImages
    valid: LabeledImages
    class_names: tuple[str, ...]
    num_repeated: int = 0
    train_range: Range | None = None
    folds: tuple[Fold, ...] = ()
    whole: "ImageData | None" = None

    def fold(self, number: int) -> "ImageData":
        """Returns the data of one fold, a copy of the images.

        Args:
            number: From 1. Data without folds are returned as they are.
        """
        if not self.folds:
            return self
        fold = self.folds[number - 1]

        def part(rows: Tensor) -> LabeledImages:
            images, labels = (values.index_select(0, rows) for values in (self.train.images, self.train.labels))
            return replace(fold.standardized(self.train), images=images, labels=labels, rows=rows)

        return replace(self, train=part(fold.train), valid=part(fold.valid), folds=(), whole=self)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the data before trusting a value that was measured on them."""
        repeated = None
        if self.num_repeated:
            repeated = (
                f"warning: {self.num_repeated:,} of {len(self.valid):,} validation images are training images, too: "
                "the validation values promise too much. Remove the repeated images, or put them into one part"
            )
        return tuple(text for text in (repeated, self.class_counts.warning) if text is not None)

    @functools.cached_property
    def class_counts(self) -> ClassCounts:
        """How many images of each class there are in both parts."""
        counts = (part.labels.bincount(minlength=self.num_classes).tolist() for part in (self.train, self.valid))
        train, valid = map(tuple, counts)
        return ClassCounts(self.class_names, train, valid)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as the data set holds them."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def together(self) -> "ImageData":
        """Returns all images to learn from. The validation set is among them, and so says nothing about others."""
        if self.folds:
            return self
        parts = (self.train, self.valid)
        rows = [part.rows for part in parts if part.rows is not None]
        train = replace(
            self.train,
            images=torch.cat([part.images for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            rows=torch.cat(rows) if len(rows) == len(parts) else None,
        )
        return replace(self, train=train)

    @functools.cached_property
    def valid_fingerprint(self) -> str:
        """SHA-256 of the validation images and their labels, in their order: what a model's value was measured on."""
        return _hash_of(self.valid)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all images, in the order of the source: however they are split, it is the same."""
        if self.whole is not None:
            return self.whole.fingerprint
        assert self.train.rows is not None
        assert self.valid.rows is not None
        parts = (self.train, self.valid)
        rows = torch.cat([part.rows for part in parts if part.rows is not None]).cpu()
        order = rows.argsort(stable=True)
        order = order[rows[order].diff(prepend=rows.new_tensor([-1])) > 0]  # those that are in both parts once
        digest = hashlib.sha256(repr((tuple(self.train.images.shape[1:]), str(self.train.images.dtype))).encode())
        for rows in torch.split(order, 1024):
            chunk = torch.empty((len(rows), *self.train.images.shape[1:]), dtype=self.train.images.dtype)
            for part, begin in zip(parts, (0, len(self.train)), strict=True):
                here = (rows >= begin) & (rows < begin + len(part))
                chunk[here] = part.images[(rows[here] - begin).to(part.images.device)].cpu()
            digest.update(chunk.numpy().data)
        return digest.hexdigest()


def _hash_of(images: LabeledImages) -> str:
    digest = hashlib.sha256(repr((tuple(images.images.shape), str(images.images.dtype))).encode())
    digest.update(images.labels.cpu().numpy().data)
    for chunk in torch.split(images.images, 1024):
        digest.update(np.ascontiguousarray(chunk.cpu().numpy()).data)
    return digest.hexdigest()


def statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Returns mean and 1 / standard deviation by channel, each (1, channels, 1, 1).

    A channel without variation has scale 1. What is 0 or 1 for a category stays as it is.
    """
    means, scales = [], []
    is_scaled = None if images.columns is None else [each for column in images.columns for each in column.is_scaled]
    for channel in range(images.pixels.shape[1]):
        values = images.pixels[:, channel]
        if is_scaled is not None and not is_scaled[channel]:
            mean, deviation = 0.0, 1.0
        elif values.dtype == np.uint8:  # exact, and without a copy of the images as floats
            counts = torch.from_numpy(values.reshape(-1)).bincount(minlength=256).numpy()
            levels = np.arange(256.0)
            mean = (counts * levels).sum() / counts.sum()
            deviation = np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum())
        else:
            mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
            if values.min() == values.max():  # by rounding, the deviation of equal values need not be 0
                deviation = 0.0
        means.append(float(mean))
        scales.append(1.0 / float(deviation) if deviation > 0.0 else 1.0)
    shape = (1, len(means), 1, 1)
    return torch.tensor(means).view(shape), torch.tensor(scales).view(shape)


def to_device(
    images: Images, mean: Tensor, scale: Tensor, device: torch.device, rows: Tensor | None = None
) -> LabeledImages:
    """Puts a part of a data set on a device."""
    pixels = images.pixels if images.pixels.flags.writeable else images.pixels.copy()
    return LabeledImages(
        torch.from_numpy(pixels).to(device),
        torch.from_numpy(images.labels).to(device),
        mean.to(device),
        scale.to(device),
        rows=None if rows is None else rows.to(device),
        columns=images.columns,
    )
