"""Augmentation of a batch on its device. Windows, mirroring and erasing are drawn for each image, without a loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.kinds import build
from pipeline.config.transfer import AugmentationBlock, AugmentConfig
from pipeline.core.errors import DataError

GroupTransform = Callable[[Tensor], Tensor]
Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

# torchvision draws color jitter and RandAugment once a call: smaller groups vary more, and cost more calls.
IMAGES_PER_GROUP = 8

SMALLEST_ERASED, LARGEST_ERASED = 0.02, 0.33
SMALLEST_ASPECT = 0.3  # and the largest is its inverse


@dataclass(frozen=True)
class Augmentation:
    """Changes the images of a training batch at random.

    Everything is drawn from PyTorch's global generators: after `torch.manual_seed` it repeats itself.

    Attributes:
        crop_padding: Padding of each side before a window is cut out, as a share of height and width, 0 to 1/2.
        flip: Whether images are mirrored left to right with probability 1/2.
        group_transform: Applied to groups of images, see `transform_groups`; None for none.
        erase: Probability with which a rectangle of an image is erased.
        mixers: From inputs and labels to mixed inputs and targets, as `change_batch`; one is drawn for each batch.
    """

    crop_padding: float
    flip: bool
    group_transform: GroupTransform | None
    erase: float
    mixers: tuple[Mixer, ...]

    @property
    def mixes(self) -> bool:
        """Whether targets are probabilities."""
        return bool(self.mixers)

    def change_images(self, images: Tensor) -> Tensor:
        """Changes images as the data set holds them: windows, mirroring, color jitter, RandAugment, in this order.

        Args:
            images: (batch, channels, height, width), uint8, or float32 of any range; they are left as they are.

        Returns:
            Of the same shape and dtype; the images themselves where nothing of this is switched on.

        Raises:
            DataError: Color jitter or RandAugment is switched on, and the images have neither 1 nor 3 channels.
        """
        if self.crop_padding > 0.0 or self.flip:
            images = cut_windows(images, padding=self.crop_padding, flip=self.flip)
        if self.group_transform is not None:
            images = transform_groups(images, self.group_transform)
        return images

    def change_batch(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Changes a standardized batch: erasing, then mixup or cutmix.

        Args:
            inputs: (batch, channels, height, width), float, of mean 0; they are left as they are.
            labels: (batch,), int64.

        Returns:
            Inputs of the same shape and dtype, and targets: the labels, or, if `mixes`, probabilities (batch, classes).
        """
        if self.erase > 0.0:
            inputs = erase_rectangles(inputs, probability=self.erase)
        if not self.mixers:
            return inputs, labels
        return self.mixers[int(torch.randint(len(self.mixers), ()))](inputs, labels)


def build_augmentation(config: AugmentConfig, num_classes: int) -> Augmentation | None:
    """Builds the augmentation that a configuration describes; None if nothing is switched on."""
    augmentation: Augmentation | None = build(config, num_classes)
    return augmentation


def _of_settings(config: AugmentationBlock, num_classes: int) -> Augmentation | None:
    group_transform: GroupTransform | None = None
    if config.color_jitter or config.rand_augment:
        # It takes as long to import as PyTorch: trainings that do not use it do not wait for it.
        from torchvision.transforms import v2

        transforms, factor = [], config.color_jitter
        if factor:
            transforms.append(v2.ColorJitter(brightness=factor, contrast=factor, saturation=factor))
        if config.rand_augment:
            transforms.append(v2.RandAugment(config.rand_augment, config.rand_augment_magnitude))
        group_transform = v2.Compose(transforms)
    mixers: list[Mixer] = []
    if config.mixup:
        mixers.append(partial(mixup, alpha=config.mixup, num_classes=num_classes))
    if config.cutmix:
        mixers.append(partial(cutmix, alpha=config.cutmix, num_classes=num_classes))
    if not (config.crop_padding or config.flip or group_transform or config.erase or mixers):
        return None
    return Augmentation(
        crop_padding=config.crop_padding,
        flip=config.flip,
        group_transform=group_transform,
        erase=config.erase,
        mixers=tuple(mixers),
    )


# From its settings and the number of classes; None where nothing is switched on.
AUGMENTATIONS: dict[str, Callable[[Any, int], Augmentation | None]] = {
    "none": lambda c, num_classes: None,
    "light": _of_settings,
    "strong": _of_settings,
    "custom": _of_settings,
}


def cut_windows(images: Tensor, *, padding: float, flip: bool) -> Tensor:
    """Cuts a window of an image's size out of the image padded by reflection, anywhere, each image a window of its own.

    Args:
        images: (batch, channels, height, width), of any dtype.
        padding: Of each side, as a share of height and width, 0 to 1/2; rounded to whole pixels.
        flip: Whether a window is mirrored left to right, with probability 1/2.
    """
    num_images, channels, height, width = images.shape
    rows = _shifted(num_images, height, round(padding * height), images.device)
    columns = _shifted(num_images, width, round(padding * width), images.device)
    if flip:
        mirrored = torch.rand(num_images, 1, device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    # Indexing by rows and columns, or windows of a padded copy, take 2 to 6 times as long as one gather.
    pixels = (rows[:, :, None] * width + columns[:, None, :]).view(num_images, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, pixels).view(images.shape)


def _shifted(num_images: int, size: int, padding: int, device: torch.device) -> Tensor:
    """Returns where each pixel of a window comes from along one dimension, (images, size), reflected at the borders."""
    shifts = torch.randint(-padding, padding + 1, (num_images, 1), device=device)
    last = size - 1
    return last - (last - (torch.arange(size, device=device) + shifts).abs()).abs()


def transform_groups(images: Tensor, transform: GroupTransform) -> Tensor:
    """Applies a transform, drawn anew for every `IMAGES_PER_GROUP` images; the last group may be smaller.

    The transform knows uint8 and floats of 0 to 1. All floats are mapped to that and back: the smallest value of the
    batch is taken for black, the largest for white.

    Args:
        images: (batch, channels, height, width), uint8 or float32.
        transform: From such images of 1 or 3 channels to changed ones, in a new tensor or not.

    Raises:
        DataError: The images have neither 1 nor 3 channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise DataError(f"color_jitter and rand_augment need images of 1 or 3 channels; got {channels}: set both to 0")
    if images.dtype == torch.uint8:
        return torch.cat([transform(group) for group in torch.split(images, IMAGES_PER_GROUP)])
    black, white = images.aminmax()
    scale = torch.where(white > black, white - black, 1.0)
    mapped = torch.split((images - black) / scale, IMAGES_PER_GROUP)
    return torch.cat([transform(group) for group in mapped]).mul_(scale).add_(black)


def erase_rectangles(inputs: Tensor, *, probability: float) -> Tensor:
    """Sets a rectangle of an image to 0: random erasing, Zhong et al., AAAI 2020, algorithm 1.

    The rectangle's area is uniform from 2 to 33 % of the image's, and the logarithm of its aspect uniform between those
    of 0.3 and 1/0.3. The aspect is relative to the image's, so that one draw always fits; the paper draws until one
    does. Sides are whole pixels: an image narrower than 4 pixels may lose more.

    Args:
        inputs: (batch, channels, height, width), float.
        probability: With which an image is changed, each for itself.
    """
    num_images, _, height, width = inputs.shape
    chosen, area, aspect, top, left = torch.rand(5, num_images, 1, device=inputs.device)
    share = SMALLEST_ERASED + (LARGEST_ERASED - SMALLEST_ERASED) * area
    # A rectangle of this share that is even longer would leave the image.
    ratio = share.clamp(min=SMALLEST_ASPECT) ** (2.0 * aspect - 1.0)
    rows = (height * (share * ratio).sqrt()).round().clamp(1, height)
    per_row = height * width / rows
    columns = (per_row * share).round().clamp((per_row * SMALLEST_ERASED).ceil(), (per_row * LARGEST_ERASED).floor())
    columns = columns.clamp(1, width)
    in_rows = _between(height, (top * (height - rows + 1)).floor(), rows) & (chosen < probability)
    in_columns = _between(width, (left * (width - columns + 1)).floor(), columns)
    return inputs.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)


def _between(size: int, start: Tensor, length: Tensor) -> Tensor:
    """Returns which places along one dimension lie in each image's interval, (images, size)."""
    positions = torch.arange(size, device=start.device)
    return (positions >= start) & (positions < start + length)


def mixup(inputs: Tensor, labels: Tensor, *, alpha: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Averages each image and label with those before it in the batch: Zhang et al., ICLR 2018, section 2.

    Args:
        inputs: (batch, channels, height, width), float, in random order.
        labels: (batch,), int64.
        alpha: The weight of the batch is drawn from Beta(alpha, alpha); positive.
        num_classes: Of the labels.

    Returns:
        Of the same shape, and probabilities (batch, classes).
    """
    weight = draw_weight(alpha)
    return torch.lerp(inputs.roll(1, 0), inputs, weight), _mixed_labels(labels, weight, num_classes)


def cutmix(inputs: Tensor, labels: Tensor, *, alpha: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Replaces a rectangle of each image by that of the image before it: Yun et al., ICCV 2019, eq. (1) and (2).

    The rectangle is the same in the whole batch. Labels are weighted by the pixels kept, as the paper's code does: a
    rectangle is centered anywhere, and may lie partly outside.

    Args and returns as `mixup`; what is drawn from Beta(alpha, alpha) is the share of an image that is kept.
    """
    side = math.sqrt(1.0 - draw_weight(alpha))
    height, width = inputs.shape[2:]
    rows, columns = _interval(height, side), _interval(width, side)
    mixed = inputs.clone()
    mixed[:, :, rows, columns] = inputs[:, :, rows, columns].roll(1, 0)
    replaced = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, _mixed_labels(labels, 1.0 - replaced / (height * width), num_classes)


def draw_weight(alpha: float) -> float:
    """Draws from Beta(alpha, alpha), for any positive alpha.

    The ratio of two gamma variables, each Gamma(alpha + 1) U^(1/alpha), as logarithms. PyTorch's own Beta, and with it
    torchvision's mixup, underflows: of what it draws for alpha = 0.001, a quarter is 0.5, where it must be near 0 or 1.
    """
    gamma = torch.distributions.Gamma(torch.full((2,), alpha + 1.0, dtype=torch.float64), 1.0).sample().log()
    uniform = torch.rand(2, dtype=torch.float64).log()
    return float(((gamma[0] - gamma[1]) + (uniform[0] - uniform[1]) / alpha).sigmoid())


def _mixed_labels(labels: Tensor, weight: float, num_classes: int) -> Tensor:
    targets = functional.one_hot(labels, num_classes).float()
    return torch.lerp(targets.roll(1, 0), targets, weight)


def _interval(size: int, share: float) -> slice:
    """Draws an interval of a share of one dimension, centered anywhere and cut off at the borders."""
    length = round(share * size)
    start = int(torch.randint(size, ())) - length // 2
    return slice(max(start, 0), min(start + length, size))
