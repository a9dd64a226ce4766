"""Data sets. `load_data` gives a study what it may see; `load_test` gives the test set, to nobody who tunes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config.data import DataConfig
from pipeline.config.kinds import build
from pipeline.core.errors import DataError
from pipeline.data.image_data import Fold, ImageData, LabeledImages, statistics, to_device
from pipeline.data.images import Images, Split, check, prove_same_range, range_of
from pipeline.data.sources.arrays import read_arrays
from pipeline.data.sources.cifar10 import read_cifar10
from pipeline.data.sources.digits import read_digits
from pipeline.data.sources.idx import read_fashion_mnist, read_mnist
from pipeline.data.sources.image_folder import read_image_folder
from pipeline.data.sources.plugin import images_of
from pipeline.data.sources.table import read_table
from pipeline.data.sources.user_data import data_folders
from pipeline.data.split import (
    num_repeated,
    num_repeated_in_folds,
    stratified_folds,
    stratified_split,
    stratified_subset,
)

Reader = Callable[[Any, Split, Sequence[Path]], Images | None]

# What reads each kind: from the settings, the part that is wanted, and the folders to look in, to that part,
# or None where the source has no such part of its own.
READERS: dict[str, Reader] = {
    "fashion_mnist": read_fashion_mnist,
    "mnist": read_mnist,
    "cifar10": read_cifar10,
    "digits": read_digits,
    "image_folder": read_image_folder,
    "arrays": read_arrays,
    "table": read_table,
}


def load_data(config: DataConfig, *, data_dir: str | None = None, device: torch.device | None = None) -> ImageData:
    """Loads the training and the validation set; the test set's files are not opened.

    Args:
        config: Which data, and how they are split.
        data_dir: Folder to look in first.
        device: Where to keep the images; the processor by default.

    Raises:
        DataError: A file is missing, truncated or damaged, or the data cannot be used; names the file.
    """
    device = device or torch.device("cpu")
    if config.num_folds > 1:
        return _load_folds(config, data_dir, device)
    train, valid, (train_rows, valid_rows) = _train_and_valid(config, data_dir)
    mean, scale = statistics(train)
    return ImageData(
        to_device(train, mean, scale, device, train_rows),
        to_device(valid, mean, scale, device, valid_rows),
        train.class_names,
        num_repeated([train.pixels], valid.pixels),
        range_of(train.pixels),
    )


def load_test(
    config: DataConfig, data: ImageData, *, data_dir: str | None = None, device: torch.device | None = None
) -> LabeledImages | None:
    """Loads the test set, standardized as the training set is; None where the data have no test set.

    Raises:
        DataError: As `load_data`.
    """
    test = _read(config, "test", data_dir)
    if test is None:
        return None
    if test.pixels.shape[1:] != data.image_shape:
        raise DataError(f"{test.origin}: images must be {data.image_shape} as in training; got {test.pixels.shape[1:]}")
    if data.train_range is not None:
        prove_same_range(data.train_range, test)
    return to_device(test, data.train.mean, data.train.scale, device or torch.device("cpu"))


def doubt_of_test(data: ImageData, test: LabeledImages) -> str | None:
    """Returns what a person should know of a test set before trusting a value measured on it; None for nothing."""
    known = [split.images.cpu().numpy() for split in (data.train, data.valid)]
    repeated = num_repeated(known, test.images.cpu().numpy())
    if not repeated:
        return None
    return (
        f"warning: {repeated:,} of {len(test):,} test images are training or validation images, too: the test values "
        "promise too much. Remove the repeated images, or put them into one part"
    )


def _train_and_valid(config: DataConfig, data_dir: str | None) -> tuple[Images, Images, list[Tensor]]:
    """Returns both parts, and where their images stand among all that are used, in the order of the source."""
    train = _read(config, "train", data_dir)
    assert train is not None
    valid = _read(config, "valid", data_dir)
    own_valid = valid is not None
    if valid is None:
        rows = [int((train.labels == label).sum()) for label in range(train.num_classes)]
        if min(rows) < 2:
            scarce = train.class_names[rows.index(min(rows))]
            raise DataError(f"{train.origin}: a class needs 2 images to be split; class {scarce} has {min(rows)}")
        train_rows, valid_rows = stratified_split(train.labels, config.valid_fraction, config.split_seed)
        train, valid = train.take(train_rows), train.take(valid_rows)
    else:
        train_rows = np.arange(len(train.labels))
        valid_rows = np.arange(len(valid.labels)) + len(train.labels)
    if valid.pixels.shape[1:] != train.pixels.shape[1:]:
        raise DataError(f"{valid.origin}: images must be {train.pixels.shape[1:]}; got {valid.pixels.shape[1:]}")
    if own_valid:
        prove_same_range(range_of(train.pixels), valid)
    if config.max_train_images is not None and config.max_train_images < len(train.labels):
        if config.max_train_images < train.num_classes:
            raise DataError(
                f"data.max_train_images must leave an image of each of {train.num_classes} classes; "
                f"got {config.max_train_images}"
            )
        chosen = stratified_subset(train.labels, config.max_train_images, config.split_seed)
        train, train_rows = train.take(chosen), train_rows[chosen]
    used = np.sort(np.concatenate([train_rows, valid_rows]))
    return train, valid, [torch.from_numpy(np.searchsorted(used, rows)) for rows in (train_rows, valid_rows)]


def _load_folds(config: DataConfig, data_dir: str | None, device: torch.device) -> ImageData:
    """Loads the training set in folds; see `ImageData`."""
    num_folds = config.num_folds
    if (valid := _read(config, "valid", data_dir)) is not None:
        raise DataError(
            f"{valid.origin}: data.folds divides the training images for validation; got folds {num_folds}, and data "
            "with a validation set of their own. Leave data.folds out, or put those images into the training set"
        )
    images = _read(config, "train", data_dir)
    assert images is not None
    counts = np.bincount(images.labels, minlength=images.num_classes)
    if counts.min() < num_folds:
        scarce = images.class_names[counts.argmin()]
        raise DataError(
            f"{images.origin}: a class needs an image for each of {num_folds} folds; class {scarce} has "
            f"{counts.min()}. Set data.folds to fewer, add images of this class, or leave it out"
        )
    number_of = stratified_folds(images.labels, num_folds, config.split_seed)

    def fold(number: int) -> Fold:
        train, valid = np.flatnonzero(number_of != number), np.flatnonzero(number_of == number)
        mean, scale = statistics(images.take(train))
        parts = (torch.from_numpy(train), torch.from_numpy(valid), mean, scale)
        return Fold(*(part.to(device) for part in parts))

    everything = to_device(images, *statistics(images), device, torch.arange(len(images.labels)))
    return ImageData(
        everything,
        everything,
        images.class_names,
        num_repeated_in_folds(images.pixels, number_of),
        range_of(images.pixels),
        tuple(map(fold, range(num_folds))),
    )


def _read(config: DataConfig, split: Split, data_dir: str | None) -> Images | None:
    made = build(config, split, data_folders(data_dir))
    if made is None:
        return None
    return check(made if isinstance(made, Images) else images_of(made, config.kind), split)
