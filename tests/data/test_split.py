"""Stratified splits and subsets: exact counts, and every row once."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from pipeline.data.split import (
    num_repeated,
    num_repeated_in_folds,
    stratified_folds,
    stratified_split,
    stratified_subset,
)

SIZES = (100, 50, 7, 2)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        (0.1, [10, 5, 1, 1]),
        (0.5, [50, 25, 4, 1]),
        (0.9, [90, 45, 6, 1]),
        (0.001, [1, 1, 1, 1]),
        (0.999, [99, 49, 6, 1]),
    ],
)
def test_split_takes_the_share_of_each_class(fraction: float, counts: list[int]) -> None:
    first, second = stratified_split(LABELS, fraction, seed=0)
    assert np.bincount(LABELS[second]).tolist() == counts
    assert np.bincount(LABELS[first]).tolist() == (np.array(SIZES) - counts).tolist()


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.8])
def test_split_has_every_row_once(fraction: float) -> None:
    first, second = stratified_split(LABELS, fraction, seed=3)
    assert np.sort(np.concatenate([first, second])).tolist() == [*range(len(LABELS))]
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()


def test_the_seed_decides_the_split() -> None:
    _, once = stratified_split(LABELS, 0.2, seed=1)
    _, again = stratified_split(LABELS, 0.2, seed=1)
    _, other = stratified_split(LABELS, 0.2, seed=2)
    assert once.tolist() == again.tolist()
    assert once.tolist() != other.tolist()


def test_rows_are_drawn_and_not_the_first_ones() -> None:
    labels = np.zeros(1000, np.int64)
    _, second = stratified_split(labels, 0.5, seed=0)
    assert 450 < second.mean() < 550
    assert 450 < stratified_subset(labels, 500, seed=0).mean() < 550


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        (4, [1, 1, 1, 1]),
        (5, [2, 1, 1, 1]),
        (16, [10, 4, 1, 1]),
        (80, [50, 25, 4, 1]),
        (158, [99, 50, 7, 2]),
        (159, [100, 50, 7, 2]),
    ],
)
def test_subset_keeps_the_shares(size: int, counts: list[int]) -> None:
    assert np.bincount(LABELS[stratified_subset(LABELS, size, seed=0)]).tolist() == counts


def test_subset_has_the_size_asked_for_and_every_class() -> None:
    generator = np.random.default_rng(0)
    for seed in range(200):
        sizes = generator.integers(1, 60, generator.integers(1, 12))
        labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
        size = int(generator.integers(len(sizes), len(labels) + 1))
        rows = stratified_subset(labels, size, seed)
        counts = np.bincount(labels[rows], minlength=len(sizes))
        assert len(rows) == len(set(rows.tolist())) == size
        assert (counts >= 1).all()
        assert (counts <= np.maximum(np.ceil(sizes * size / len(labels)), 1)).all()


def test_the_seed_decides_the_subset() -> None:
    once, again, other = (stratified_subset(LABELS, 40, seed).tolist() for seed in (1, 1, 2))
    assert once == again
    assert once != other
    assert once == sorted(once)


def test_images_of_both_parts_are_counted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    train = images[:15]
    assert num_repeated([train], images[15:]) == 0
    assert num_repeated([train], images[12:]) == 3
    assert num_repeated([train], np.repeat(images[:1], 4, axis=0)) == 4
    almost = images[:1].copy()
    almost[0, 0, 3, 3] ^= 1
    assert num_repeated([train], almost) == 0
    assert num_repeated([images[:5], images[5:9]], images[3:12]) == 6


def test_images_are_the_same_in_whichever_type_a_part_is_held() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    assert num_repeated([images[:15]], images[12:].astype(np.float32)) == 3


@pytest.mark.parametrize("num_folds", [2, 3, 7])
def test_folds_are_of_equal_size_with_the_same_share_of_every_class(num_folds: int) -> None:
    labels = LABELS[LABELS < 3]
    folds = stratified_folds(labels, num_folds, seed=0)
    counts = np.array([np.bincount(labels[folds == number]) for number in range(num_folds)])
    assert counts.sum(0).tolist() == [*SIZES[:3]]
    assert (np.ptp(counts, 0) <= 1).all()
    assert np.ptp(counts.sum(1)) <= 1


def test_folds_are_those_of_scikit_learn() -> None:
    labels = LABELS[LABELS < 3]
    folds = stratified_folds(labels, 5, seed=2**32 + 3)
    splitter = StratifiedKFold(5, shuffle=True, random_state=3)
    for number, (_, valid) in enumerate(splitter.split(labels, labels)):
        assert np.flatnonzero(folds == number).tolist() == valid.tolist()
    assert folds.tolist() != stratified_folds(labels, 5, seed=4).tolist()


def test_an_image_is_repeated_where_another_fold_has_it() -> None:
    images = np.array([1, 2, 1, 3, 3, 2, 4]).reshape(-1, 1, 1, 1)
    assert num_repeated_in_folds(images, np.array([0, 0, 1, 1, 1, 2, 0])) == 4
