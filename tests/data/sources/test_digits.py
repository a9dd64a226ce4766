"""scikit-learn's digits: nothing lost in scaling, and a test set that no setting moves."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipeline.config.data import DataConfig, Digits
from pipeline.data.loading import load_data, load_test
from pipeline.data.sources.digits import read_digits

DIGITS = Digits()


def test_train_and_test_are_the_whole_set_once_and_scaling_loses_nothing() -> None:
    train, test = read_digits(DIGITS, "train", []), read_digits(DIGITS, "test", [])
    assert train.pixels.shape == (1438, 1, 8, 8)
    assert test.pixels.shape == (359, 1, 8, 8)
    assert train.pixels.dtype == test.pixels.dtype == np.uint8
    rows = np.column_stack(
        [
            np.concatenate([train.pixels, test.pixels]).reshape(-1, 64) / 15,
            np.concatenate([train.labels, test.labels]),
        ]
    )
    original = np.column_stack(load_digits(return_X_y=True))
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, original.tolist()))


def test_test_part_is_a_fifth_of_every_class() -> None:
    counts = np.bincount(load_digits().target)
    assert np.bincount(read_digits(DIGITS, "test", []).labels).tolist() == np.round(counts / 5).tolist()


def test_no_image_of_the_test_part_is_in_the_others() -> None:
    data = load_data(DIGITS)
    test = load_test(DIGITS, data)
    seen = {image.numpy().tobytes() for part in (data.train, data.valid) for image in part.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


@pytest.mark.parametrize(
    "config",
    [
        Digits(split_seed=7),
        Digits(valid_fraction=0.4),
        Digits(max_train_images=100),
    ],
)
def test_settings_move_the_other_parts_and_not_the_test_part(config: DataConfig) -> None:
    data, other = load_data(DIGITS), load_data(config)
    assert not torch.equal(data.train.labels, other.train.labels)
    assert torch.equal(load_test(DIGITS, data).images, load_test(config, other).images)
