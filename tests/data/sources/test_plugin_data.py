from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
import torch

from pipeline.config.data import DataBlock
from pipeline.config.kinds import register, unregister
from pipeline.core.errors import DataError
from pipeline.data.images import Split
from pipeline.data.loading import load_data, load_test
from pipeline.data.sources.plugin import images_of

PIXELS = np.arange(24 * 5 * 5, dtype=np.uint8).reshape(24, 5, 5)
LABELS = np.arange(24) % 3


class Pictures(DataBlock):
    kind: Literal["pictures_of_a_test"] = "pictures_of_a_test"
    num_test: int = 4


class Set:
    """A map-style data set."""

    classes = ("x", "y", "z")

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(PIXELS[index]), int(LABELS[index])


def _read(block: Pictures, part: Split, _folders: object) -> Any:
    match part:
        case "train":
            return PIXELS, LABELS, ["a", "b", "c"]
        case "test":
            return PIXELS[: block.num_test], torch.from_numpy(LABELS[: block.num_test]), ["a", "b", "c"]
    return None


@pytest.fixture(autouse=True)
def _pictures() -> Iterator[None]:
    register(Pictures, _read, "a test")
    yield
    unregister("a test")


def test_a_plugins_data_are_split_and_kept_as_any() -> None:
    data = load_data(Pictures(valid_fraction=0.25))
    assert (data.image_shape, data.class_names) == ((1, 5, 5), ("a", "b", "c"))
    assert (len(data.train), len(data.valid)) == (18, 6)
    test = load_test(Pictures(num_test=2), data)
    assert test is not None
    assert torch.equal(test.images[:, 0].cpu(), torch.from_numpy(PIXELS[:2]))


def test_a_data_set_of_torch_is_read_item_by_item() -> None:
    images = images_of(Set(), "mine")
    assert images.class_names == ("x", "y", "z")
    assert np.array_equal(images.pixels[:, 0], PIXELS[:6])
    assert np.array_equal(images.labels, LABELS[:6])


def test_names_are_numbers_where_there_are_none() -> None:
    images = images_of((PIXELS.astype(np.float64), LABELS), "mine")
    assert images.class_names == ("0", "1", "2")
    assert images.pixels.dtype == np.float32


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (3, r"mine: a reader returns \(images, labels\), .*; got int"),
        ((PIXELS, LABELS / 2), r"mine: labels must be whole numbers, one for each image; got float64"),
        ((PIXELS[:, 0, 0], LABELS), r"mine: images must be \(images, channels, height, width\) or .*; got \(24,\)"),
    ],
)
def test_what_is_no_part_is_refused(made: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        images_of(made, "mine")
