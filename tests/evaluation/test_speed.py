from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from pipeline.data.image_data import LabeledImages
from pipeline.evaluation.speed import WARM_UP, batch_seconds

IMAGES = LabeledImages(
    torch.zeros((3, 1, 4, 4), dtype=torch.uint8),
    torch.zeros(3, dtype=torch.int64),
    torch.zeros((1, 1, 1, 1)),
    torch.ones((1, 1, 1, 1)),
)


class Sleeper(nn.Module):
    """Takes some time for a pass, and long for the first ones, by a clock that it moves itself."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.shapes: list[tuple[int, ...]] = []
        self.modes: list[bool] = []
        self.now = 0.0

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        self.modes.append(self.training)
        self.now += self.seconds * (10 if len(self.shapes) <= WARM_UP else 1)
        return images.flatten(1)


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    sleeper = Sleeper(0.5)
    monkeypatch.setattr("pipeline.evaluation.speed.time", SimpleNamespace(perf_counter=lambda: sleeper.now))
    return sleeper


def test_the_first_passes_do_not_count(sleeper: Sleeper) -> None:
    seconds = batch_seconds(sleeper, IMAGES, nullcontext(), batch_size=2, passes=5, most_seconds=9.0)
    assert seconds == 0.5
    assert len(sleeper.shapes) == WARM_UP + 5
    assert not any(sleeper.modes)


def test_few_images_make_a_large_batch(sleeper: Sleeper) -> None:
    batch_seconds(sleeper, IMAGES, nullcontext(), batch_size=256, passes=1)
    assert set(sleeper.shapes) == {(256, 1, 4, 4)}


def test_a_slow_network_is_timed_once(sleeper: Sleeper) -> None:
    assert batch_seconds(sleeper, IMAGES, nullcontext(), batch_size=1, most_seconds=0.0) == 0.5
    assert len(sleeper.shapes) == WARM_UP + 1
