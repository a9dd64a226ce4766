"""Data in folds: each image is validated on once, and nothing of it reaches the training of its fold."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.data import Arrays, Digits
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data, load_test


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(Digits(folds=5))


def test_each_image_is_validated_on_once_and_else_learned_from(data: ImageData) -> None:
    count = len(data.train)
    assert len(data.folds) == 5
    validated = torch.cat([data.fold(number).valid.images for number in range(1, 6)])
    assert len(validated) == count
    rows = torch.cat([fold.valid for fold in data.folds])
    assert rows.sort().values.tolist() == [*range(count)]
    assert (validated == data.train.images[rows]).all()
    for number in range(1, 6):
        fold = data.fold(number)
        assert fold.train.rows is not None
        assert fold.valid.rows is not None
        assert torch.cat([fold.train.rows, fold.valid.rows]).sort().values.tolist() == [*range(count)]
        assert (fold.train.labels == data.train.labels[fold.train.rows]).all()


def test_folds_and_one_split_have_the_same_images_and_the_same_test_part(data: ImageData) -> None:
    """So that a cache of features serves both, and all folds."""
    config = Digits()
    single = load_data(config)
    assert data.fingerprint == single.fingerprint == data.fold(3).fingerprint
    assert data.valid_fingerprint != single.valid_fingerprint
    test, other = load_test(Digits(folds=5), data), load_test(config, single)
    assert test is not None
    assert other is not None
    assert (test.images == other.images).all()


def test_each_fold_is_standardized_by_the_images_that_it_learns_from(data: ImageData) -> None:
    for number in range(1, 6):
        fold = data.fold(number)
        images = fold.train.images.double()
        for part in (fold.train, fold.valid):
            assert part.mean.item() == pytest.approx(images.mean().item(), rel=1e-6)
            assert part.scale.item() == pytest.approx(1.0 / images.std(correction=0).item(), rel=1e-6)
    assert len({fold.mean.item() for fold in data.folds}) == 5


def test_all_images_together_are_those_of_the_training_part_once(data: ImageData) -> None:
    assert len(data.together().train) == len(data.train)


def test_the_split_seed_decides_the_folds(data: ImageData) -> None:
    other = load_data(Digits(folds=5, split_seed=1))
    assert data.folds[0].valid.tolist() != other.folds[0].valid.tolist()


def test_one_fold_is_none() -> None:
    config = Digits(folds=1)
    assert (config.num_folds, Digits().num_folds) == (1, 1)
    assert load_data(config).folds == ()


def archive(folder: Path, counts: list[int], *, with_valid: bool = False) -> Arrays:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    parts: dict[str, np.ndarray] = {"x_train": images, "y_train": labels}
    if with_valid:
        parts |= {"x_valid": images[:5], "y_valid": labels[:5]}
    np.savez(folder / "images.npz", allow_pickle=False, **parts)
    return Arrays(path=str(folder / "images.npz"), folds=4)


def test_a_class_needs_an_image_for_each_fold(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"images\.npz: train: a class needs an image for each of 4 folds; class 1 has 3\."
    ):
        load_data(archive(tmp_path, [9, 3]))
    assert len(load_data(archive(tmp_path, [9, 4])).folds) == 4


def test_data_with_a_validation_set_of_their_own_have_no_folds(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"got folds 4, and data with a validation set of their own\. Leave data\.folds"
    ):
        load_data(archive(tmp_path, [9, 9], with_valid=True))


def test_images_that_are_in_several_folds_are_told(tmp_path: Path) -> None:
    config = archive(tmp_path, [9, 9])
    images = np.zeros((18, 4, 4), np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images, y_train=np.repeat([0, 1], 9))
    warning, *_ = load_data(config).warnings
    assert warning.startswith("warning: 18 of 18 validation images are training images, too")
