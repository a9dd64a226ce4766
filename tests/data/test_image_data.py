"""Images on the device: what a network gets of them, and what tells a data set from another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.config.data import Arrays
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import load_data

MEAN, SCALE = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1), torch.tensor([0.5, 0.25, 2.0]).view(1, 3, 1, 1)
Reader = Callable[..., ImageData]


def _images(channels: int, size: int, *, dtype: torch.dtype = torch.uint8, **settings: Any) -> LabeledImages:
    pixels = torch.randint(256, (7, channels, size, size), generator=torch.Generator().manual_seed(0)).to(dtype)
    mean, scale = settings.pop("mean", MEAN[:, :channels]), settings.pop("scale", SCALE[:, :channels])
    return LabeledImages(pixels, torch.arange(7), mean, scale, **settings)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_standardized_by_channel_and_left_alone(channels: int, dtype: torch.dtype) -> None:
    data = _images(channels, 4, dtype=dtype)
    before = data.images.clone()
    expected = (before.float() - data.mean) * data.scale
    for _ in range(2):
        torch.testing.assert_close(data.slice(0, 7)[0], expected, rtol=0.0, atol=0.0)
    inputs, labels = data.batch(torch.tensor([3, 1, 1]))
    torch.testing.assert_close(inputs, expected[[3, 1, 1]], rtol=0.0, atol=0.0)
    assert labels.tolist() == [3, 1, 1]
    assert torch.equal(data.images, before)


@pytest.mark.parametrize("image_size", [None, 6])
def test_a_gray_channel_becomes_three_each_with_its_own_mean(image_size: int | None) -> None:
    data = _images(1, 6, mean=MEAN, scale=SCALE, image_size=image_size)
    gray = data.images.float()
    expected = torch.cat([(gray - MEAN[0, channel]) * SCALE[0, channel] for channel in range(3)], dim=1)
    torch.testing.assert_close(data.slice(0, 7)[0], expected)


@pytest.mark.parametrize("size", [5, 12])
def test_images_are_resized_as_antialiased_bilinear_interpolation_does(size: int) -> None:
    data = _images(3, 8, image_size=size)
    expected = functional.interpolate(data.images.float(), size=(size, size), mode="bilinear", antialias=True)
    inputs = data.slice(0, 7)[0]
    assert inputs.shape == (7, 3, size, size)
    torch.testing.assert_close(inputs, (expected - MEAN) * SCALE, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [6, 9])
def test_for_a_backbone_they_lie_channels_last_also_where_none_is_resized(size: int) -> None:
    inputs = _images(3, 6, image_size=size).slice(0, 7)[0]
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert not inputs.is_contiguous()
    assert _images(3, 6).slice(0, 7)[0].is_contiguous()


def test_an_image_that_is_not_square_becomes_so() -> None:
    data = replace(_images(3, 6, image_size=6), images=torch.zeros(7, 3, 6, 9, dtype=torch.uint8))
    assert data.slice(0, 2)[0].shape == (2, 3, 6, 6)


def test_augmentation_sees_the_images_as_they_are_held() -> None:
    data = _images(1, 4, mean=MEAN, scale=SCALE, image_size=8)
    seen = []

    def darken(images: torch.Tensor) -> torch.Tensor:
        seen.append((images.shape, images.dtype))
        return torch.zeros_like(images)

    inputs, _ = data.batch(torch.tensor([0, 1]), darken)
    assert seen == [((2, 1, 4, 4), torch.uint8)]
    torch.testing.assert_close(inputs, (-MEAN * SCALE).expand(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("channels", "size", "settings", "expected"),
    [
        (1, 32, {}, 2048),
        (3, 32, {}, 682),
        (1, 32, {"mean": MEAN, "image_size": 224}, 13),  # what it becomes counts
        (3, 256, {"image_size": 32}, 10),  # what it is, too
        (3, 1024, {}, 1),
    ],
)
def test_chunks_are_of_about_the_same_number_of_values(channels: int, size: int, settings: Any, expected: int) -> None:
    assert _images(channels, size, **settings).chunk_size == expected


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Reads 60 images of three classes; `changed` adds 1 to a pixel of one."""

    def read(
        *, changed: int | None = None, order: Any = slice(None), dtype: Any = np.uint8, **settings: Any
    ) -> ImageData:
        pixels = np.random.default_rng(0).integers(0, 200, (60, 4, 4)).astype(dtype)
        if changed is not None:
            pixels[changed, 2, 1] += 1
        file = tmp_path / "images.npz"
        np.savez(file, x_train=pixels[order], y_train=(np.arange(60) % 3)[order])
        return load_data(Arrays.model_validate({"kind": "arrays", "path": str(file), **settings}))

    return read


SPLITS: tuple[dict[str, Any], ...] = ({}, {"split_seed": 3}, {"valid_fraction": 0.5}, {"valid_fraction": 0.05})


@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_the_places_in_the_source_whatever_the_split(split: dict[str, Any], read: Reader) -> None:
    data = read(**split)
    assert data.train.rows is not None
    assert data.valid.rows is not None
    rows = torch.cat([data.train.rows, data.valid.rows])
    assert sorted(rows.tolist()) == [*range(60)]
    pixels = np.random.default_rng(0).integers(0, 200, (60, 4, 4)).astype(np.uint8)
    images = torch.cat([data.train.images, data.valid.images])
    assert torch.equal(images[rows.argsort()].squeeze(1), torch.from_numpy(pixels))


def test_the_fingerprint_is_that_of_the_images_and_not_of_the_split(read: Reader) -> None:
    (fingerprint,) = {read(**split).fingerprint for split in SPLITS}
    assert len(fingerprint) == 64
    in_training, in_validation = (int(part.rows[0]) for part in (read().train, read().valid) if part.rows is not None)
    others = [read(changed=in_training), read(changed=in_validation), read(order=slice(None, None, -1))]
    others += [read(max_train_images=40), read(order=slice(0, 57)), read(dtype=np.float64, changed=0)]
    assert len({fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_of_a_source_with_a_validation_part_that_part_comes_last(tmp_path: Path) -> None:
    pixels = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4)
    labels = np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x_train=pixels[:6], y_train=labels[:6], x_valid=pixels[6:], y_valid=labels[6:])
    settings = {"kind": "arrays", "path": str(tmp_path / "a.npz")}
    data = load_data(Arrays.model_validate(settings))
    assert data.train.rows is not None
    assert data.valid.rows is not None
    assert (data.train.rows.tolist(), data.valid.rows.tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])
    fewer = load_data(Arrays.model_validate({**settings, "max_train_images": 4}))
    assert fewer.train.rows is not None
    assert fewer.valid.rows is not None
    assert fewer.train.rows.tolist() + fewer.valid.rows.tolist() == [*range(8)]
