"""Stratified, seeded choices of rows: the same share of every class."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError

Rows = NDArray[np.int64]


def stratified_split(labels: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Splits rows in two, class by class.

    Args:
        labels: (rows,), every class with at least two rows.
        fraction: Share of each class that goes to the second part, rounded, at least one row and never all.
        seed: Decides which.

    Returns:
        The rows of the first and of the second part, each ascending.
    """
    generator = np.random.default_rng(seed)
    second = []
    for rows in _rows_by_class(labels):
        count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        second.append(generator.permutation(rows)[:count])
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.concatenate(second)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def split_off_test(labels: Rows, keys: Sequence[str], fraction: float, origin: str) -> tuple[Rows, Rows]:
    """Splits a test set off, class by class: the rows whose keys have the smallest hashes.

    What is added later moves no more than a few rows at the border, so that a model that was trained before is
    not tested on what it was trained on.

    Args:
        labels: (rows,).
        keys: What names each row for good, such as a file's name.
        fraction: Share of each class that is split off, rounded, at least one row.
        origin: Where the rows come from, for messages.

    Returns:
        The other rows and those of the test set, each ascending.

    Raises:
        DataError: A class has too few rows for a training, a validation and a test set.
    """
    order = np.array([hashlib.blake2b(key.encode("utf-8", "surrogateescape")).hexdigest() for key in keys])
    chosen = np.zeros(len(labels), dtype=bool)
    for rows in _rows_by_class(labels):
        if len(rows) < 3:
            raise DataError(
                f"{origin}: a class needs 3 images, for training, validation and test; class {labels[rows[0]]} has "
                f"{len(rows)}. Add images, or put those of the test set into a part of their own"
            )
        count = min(max(round(fraction * len(rows)), 1), len(rows) - 2)
        chosen[rows[np.argsort(order[rows], kind="stable")[:count]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified_subset(labels: Rows, size: int, seed: int) -> Rows:
    """Chooses rows so that each class keeps its share, and at least one row.

    Args:
        labels: (rows,).
        size: How many rows; at least the number of classes and at most the number of rows.
        seed: Decides which.

    Returns:
        The chosen rows, ascending.
    """
    generator = np.random.default_rng(seed)
    classes = _rows_by_class(labels)
    shares = np.array([len(rows) * size / len(labels) for rows in classes])
    counts = np.maximum(shares.astype(np.int64), 1)
    while counts.sum() != size:  # largest remainder
        step = 1 if counts.sum() < size else -1
        gap = (shares - counts) * step
        gap[(counts <= 1) & (step < 0)] = -np.inf
        counts[gap.argmax()] += step
    chosen = [generator.permutation(rows)[:count] for rows, count in zip(classes, counts, strict=True)]
    return np.sort(np.concatenate(chosen))


def stratified_folds(labels: Rows, num_folds: int, seed: int) -> Rows:
    """Divides rows into folds of equal size, as far as that goes, with the same share of every class.

    They are those of scikit-learn's ``StratifiedKFold(num_folds, shuffle=True, random_state=seed)``.

    Args:
        labels: (rows,), every class with at least as many rows as there are folds.
        num_folds: How many folds, at least 2.
        seed: Decides which; taken modulo 2^32.

    Returns:
        The number of each row's fold, from 0, (rows,).
    """
    from sklearn.model_selection import StratifiedKFold

    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed % 2**32)
    for number, (_, rows) in enumerate(splitter.split(labels, labels)):
        folds[rows] = number
    return folds


def _rows_by_class(labels: Rows) -> list[Rows]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def num_repeated(known: Sequence[NDArray[Any]], images: NDArray[Any]) -> int:
    """Returns how many images of a part have the same values as one of other parts.

    Args:
        known: The other parts, (images, ...) each.
        images: (images, ...).
    """
    # Bytes in one part may be floats in another one, where a single value of it is larger than 255.
    dtype = np.result_type(images, *known)
    digests = {digest for part in known for digest in _digests(part, dtype)}
    return sum(digest in digests for digest in _digests(images, dtype))


def num_repeated_in_folds(images: NDArray[Any], folds: Rows) -> int:
    """Returns how many images have the same values as an image of another fold.

    Args:
        images: (images, ...).
        folds: The number of each image's fold, (images,).
    """
    digests = list(_digests(images, images.dtype))
    folds_of: dict[bytes, set[int]] = {}
    for digest, fold in zip(digests, folds.tolist(), strict=True):
        folds_of.setdefault(digest, set()).add(fold)
    return sum(len(folds_of[digest]) > 1 for digest in digests)


def _digests(pixels: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[bytes]:
    return (hashlib.blake2b(image.astype(dtype, copy=False).tobytes(), digest_size=16).digest() for image in pixels)
