"""Preprocessing in the graph is what training did."""

import pytest
import torch

from pipeline.data.image_data import LabeledImages
from pipeline.export.preprocessing import Preprocess, described, examples


def some(dtype: torch.dtype, channels: int, *, wanted: int, size: int | None) -> LabeledImages:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (9, channels, 28, 21), generator=generator).to(dtype)
    mean = 255.0 * torch.rand(1, wanted, 1, 1, generator=generator)
    scale = 1.0 / (50.0 + 20.0 * torch.rand(1, wanted, 1, 1, generator=generator))
    return LabeledImages(images, torch.zeros(9, dtype=torch.int64), mean, scale, size)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("channels", "wanted"), [(1, 1), (3, 3), (1, 3), (4, 4)])
def test_without_resizing_it_is_equal_to_the_bit(dtype: torch.dtype, channels: int, wanted: int) -> None:
    images = some(dtype, channels, wanted=wanted, size=None)
    assert torch.equal(Preprocess(images)(images.images), images.prepare(images.images))


@pytest.mark.parametrize("size", [8, 21, 28, 96])
@pytest.mark.parametrize(("channels", "wanted"), [(3, 3), (1, 3)])
def test_resizing_is_equal_within_rounding(size: int, channels: int, wanted: int) -> None:
    images = some(torch.uint8, channels, wanted=wanted, size=size)
    found, expected = Preprocess(images)(images.images), images.prepare(images.images)
    assert found.shape == (9, wanted, size, size)
    assert float((found - expected).abs().max()) < 1e-6


@pytest.mark.parametrize("size", [None, 16])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_its_description_prepares_the_same(size: int | None, dtype: torch.dtype) -> None:
    images = some(dtype, 1, wanted=3, size=size)
    again = examples(described(images, 4))
    assert torch.equal(again.prepare(images.images), images.prepare(images.images))
    assert (again.images.dtype, again.images.shape[1:]) == (dtype, images.images.shape[1:])
