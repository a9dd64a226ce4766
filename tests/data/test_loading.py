"""`load_data` and `load_test`: standardization by the training set alone, sizes, and a test set left alone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.data import Arrays, Cifar10, DataConfig, Digits, ImageFolder, Mnist
from pipeline.config.schema import kinds_of
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import READERS, load_data, load_test

DIGITS = Digits()


def _by_channel(images: Tensor) -> Tensor:
    return images.transpose(0, 1).flatten(1)


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[..., DataConfig]:
    """Writes an archive of 40 + 20 + 20 images of 3 unlike channels; returns its configuration."""

    def write(dtype: type = np.uint8, **settings: Any) -> DataConfig:
        generator = np.random.default_rng(0)
        parts: dict[str, np.ndarray] = {}
        for part, rows, low in (("train", 40, 0), ("valid", 20, 50), ("test", 20, 90)):
            span = np.array([10, 60, 160]).reshape(3, 1, 1)
            parts[f"x_{part}"] = (low + span * generator.random((rows, 3, 5, 6))).astype(dtype)
            parts[f"y_{part}"] = np.arange(rows) % 4
        np.savez(tmp_path / "images.npz", allow_pickle=False, **parts)
        return Arrays(path=str(tmp_path / "images.npz"), **settings)

    return write


def test_table_and_schema_have_the_same_names() -> None:
    assert set(READERS) == set(kinds_of(DataConfig))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_training_part_has_mean_0_and_deviation_1_in_each_channel(dtype: type, arrays: Any) -> None:
    train = load_data(arrays(dtype)).train
    images, _ = train.slice(0, len(train))
    channels = _by_channel(images)
    assert images.dtype == torch.float32
    torch.testing.assert_close(channels.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(channels.std(1, correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_valid_and_test_are_standardized_with_the_training_numbers(dtype: type, arrays: Any) -> None:
    config = arrays(dtype)
    data = load_data(config)
    test = load_test(config, data)
    with np.load(config.path) as archive:
        train = archive["x_train"].astype(np.float64)
        mean, deviation = (getattr(train, name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "std"))
        for part, name in ((data.valid, "x_valid"), (test, "x_test")):
            expected = (archive[name] - mean) / deviation
            np.testing.assert_allclose(part.slice(0, 20)[0].numpy(), expected, atol=1e-4)


def test_images_held_out_for_validation_do_not_move_the_statistics() -> None:
    data = load_data(Digits(valid_fraction=0.3))
    pixels = data.train.images.double()
    assert data.train.mean.item() == pytest.approx(pixels.mean().item(), rel=1e-6)
    assert data.train.mean.item() != pytest.approx(torch.cat([pixels, data.valid.images]).mean().item(), rel=1e-6)


@pytest.mark.parametrize(("dtype", "constant"), [(np.uint8, 7), (np.float32, 0.1), (np.float32, 1e6)])
def test_a_channel_without_variation_becomes_zero(dtype: type, constant: float, tmp_path: Path) -> None:
    pixels: np.ndarray = np.random.default_rng(0).integers(0, 256, (8, 3, 5, 6)).astype(dtype)
    pixels[:, 1] = constant
    np.savez(tmp_path / "images.npz", x_train=pixels, y_train=np.arange(8) % 2)
    data = load_data(Arrays(path=str(tmp_path / "images.npz")))
    images, _ = data.train.slice(0, len(data.train))
    assert images.isfinite().all()
    torch.testing.assert_close(images[:, 1], torch.zeros_like(images[:, 1]), atol=1e-6, rtol=0)


def test_bytes_stay_bytes_and_labels_are_int64() -> None:
    data = load_data(DIGITS)
    assert data.train.images.dtype == data.valid.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert data.image_shape == (1, 8, 8)
    assert data.num_classes == 10


def test_everything_is_put_on_the_device_asked_for() -> None:
    device = torch.device("meta")
    data = load_data(DIGITS, device=device)
    for part in (data.train, data.valid, load_test(DIGITS, data, device=device)):
        assert {tensor.device for tensor in (part.images, part.labels, part.mean, part.scale)} == {device}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_batch_and_slice_agree_and_change_nothing(dtype: type, arrays: Any) -> None:
    train = load_data(arrays(dtype)).train
    held = train.images.clone()
    for _ in range(2):
        images, labels = train.slice(3, 9)
        again, labels_again = train.batch(torch.arange(3, 9))
        torch.testing.assert_close(images, again, rtol=0, atol=0)
        torch.testing.assert_close(labels, labels_again)
        torch.testing.assert_close(train.images, held, rtol=0, atol=0)


def test_a_batch_has_the_rows_asked_for() -> None:
    train = load_data(DIGITS).train
    images, labels = train.batch(torch.tensor([5, 2, 5]))
    assert labels.tolist() == train.labels[[5, 2, 5]].tolist()
    torch.testing.assert_close(images[0], images[2])
    expected = (train.images[[5, 2, 5]].float() - train.mean) * train.scale
    torch.testing.assert_close(images, expected)


def test_train_and_valid_share_no_image() -> None:
    data = load_data(DIGITS)
    assert len(data.train) + len(data.valid) == 1438
    train, valid = ({image.numpy().tobytes() for image in part.images} for part in (data.train, data.valid))
    assert not train & valid


@pytest.mark.parametrize(("fraction", "num_valid"), [(0.1, 143), (0.5, 718)])
def test_valid_fraction(fraction: float, num_valid: int) -> None:
    data = load_data(Digits(valid_fraction=fraction))
    assert len(data.valid) == pytest.approx(num_valid, abs=5)
    shares = data.valid.labels.bincount() / (data.valid.labels.bincount() + data.train.labels.bincount())
    assert (shares - fraction).abs().max() < 0.005


def test_the_split_depends_on_split_seed_only() -> None:
    once, again, other = (load_data(Digits(split_seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(once.valid.images, again.valid.images)
    assert not torch.equal(once.valid.images, other.valid.images)


def test_max_train_images() -> None:
    full, reduced = load_data(DIGITS), load_data(Digits(max_train_images=105))
    assert len(reduced.train) == 105
    assert set(reduced.train.labels.bincount().tolist()) <= {10, 11}
    assert torch.equal(reduced.valid.images, full.valid.images)
    pixels = reduced.train.images.double()
    assert reduced.train.mean.item() == pytest.approx(pixels.mean().item(), rel=1e-6)


def test_max_train_images_beyond_what_there_is() -> None:
    full, same = load_data(DIGITS), load_data(Digits(max_train_images=100_000))
    assert torch.equal(full.train.images, same.train.images)


def test_max_train_images_below_the_number_of_classes() -> None:
    with pytest.raises(DataError, match=r"data\.max_train_images must leave an image of each of 10 classes; got 9"):
        load_data(Digits(max_train_images=9))


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_validation_part_of_its_own_wins_over_valid_fraction(fraction: float, arrays: Any) -> None:
    data = load_data(arrays(valid_fraction=fraction, split_seed=3))
    assert (len(data.train), len(data.valid)) == (40, 20)
    assert data.valid.images.min() >= 50


@pytest.fixture(params=["mnist", "cifar10", "image_folder", "arrays"])
def with_test_part(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    write_idx: Callable[..., Any],
    write_cifar10: Callable[[Path], np.ndarray],
    write_images: Callable[[Path, dict[str, int]], None],
    arrays: Callable[..., DataConfig],
) -> tuple[DataConfig, list[Path]]:
    """A data set of each source that keeps its test set in files, and these files."""
    if request.param == "mnist":
        write_idx(tmp_path, "train", num_images=40)
        write_idx(tmp_path, "test", num_images=10)
        return Mnist(), sorted(tmp_path.glob("t10k-*"))
    if request.param == "cifar10":
        write_cifar10(tmp_path)
        return Cifar10(), [tmp_path / "test_batch"]
    if request.param == "image_folder":
        write_images(tmp_path, {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2})
        config = ImageFolder(path=str(tmp_path), image_size=4)
        return config, sorted((tmp_path / "test").rglob("*.png"))
    return arrays(), []


def _damage_test_arrays(config: DataConfig) -> None:
    assert isinstance(config, Arrays)
    with np.load(config.path) as archive:
        arrays = dict(archive)
    arrays["x_test"] = np.full(20, None)
    np.savez(config.path, **arrays)


def _load(config: DataConfig, folder: Path) -> tuple[ImageData, Callable[[], LabeledImages | None]]:
    data = load_data(config, data_dir=str(folder))
    return data, lambda: load_test(config, data, data_dir=str(folder))


def test_load_test_is_sound_where_nothing_is_damaged(
    with_test_part: tuple[DataConfig, list[Path]], tmp_path: Path
) -> None:
    config, _ = with_test_part
    data, load_the_test_part = _load(config, tmp_path)
    test = load_the_test_part()
    assert test is not None
    assert len(test) > 0
    assert torch.equal(test.mean, data.train.mean)
    assert torch.equal(test.scale, data.train.scale)


def test_load_data_does_not_look_into_the_test_files(
    with_test_part: tuple[DataConfig, list[Path]], tmp_path: Path
) -> None:
    config, files = with_test_part
    before, _ = _load(config, tmp_path)
    for file in files:
        file.write_bytes(b"damaged")
    if not files:
        _damage_test_arrays(config)
    after, load_the_test_part = _load(config, tmp_path)
    assert torch.equal(before.train.images, after.train.images)
    assert torch.equal(before.valid.images, after.valid.images)
    with pytest.raises(DataError):
        load_the_test_part()


@pytest.mark.parametrize("with_test_part", ["mnist", "cifar10"], indirect=True)
def test_load_data_does_not_need_the_test_files(with_test_part: tuple[DataConfig, list[Path]], tmp_path: Path) -> None:
    config, files = with_test_part
    for file in files:
        file.unlink()
    _, load_the_test_part = _load(config, tmp_path)
    with pytest.raises(DataError, match=r"cannot be downloaded: .*--data-dir or \$DNNTUNE_DATA"):
        load_the_test_part()


@pytest.mark.parametrize("with_test_part", ["image_folder"], indirect=True)
def test_a_test_folder_that_is_gone_means_no_test_part(
    with_test_part: tuple[DataConfig, list[Path]], tmp_path: Path
) -> None:
    config, _ = with_test_part
    shutil.rmtree(tmp_path / "test")
    _, load_the_test_part = _load(config, tmp_path)
    assert load_the_test_part() is None
