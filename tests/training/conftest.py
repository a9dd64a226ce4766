"""What the tests of training share: a small problem, and configurations that run in no time."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import training as configs
from pipeline.config.data import Digits
from pipeline.config.model import MlpConfig
from pipeline.config.training import AdamW
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData, statistics, to_device
from pipeline.data.images import Images

NAMES = ("none", "left", "right", "both")


@pytest.fixture(autouse=True)
def _bfloat16_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets bfloat16 be tested where the processor has no instructions for it: it is slow there, and right."""
    monkeypatch.setattr("pipeline.setup.device.has_bfloat16", lambda: True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums then have one order, and small matrices are not slowed down by threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_data() -> ImageData:
    """Four classes of 5 x 5 gray images, a random pattern each, in noise: 257 to train on, 120 to validate."""
    generator = np.random.default_rng(0)
    patterns = generator.uniform(80.0, 180.0, (4, 1, 5, 5))

    def part(size: int) -> Images:
        labels = np.arange(size) % 4
        pixels = np.clip(patterns[labels] + generator.normal(0.0, 40.0, (size, 1, 5, 5)), 0.0, 255.0)
        return Images(pixels.astype(np.uint8), labels.astype(np.int64), NAMES, "made up")

    train, valid = part(257), part(120)
    mean, scale = statistics(train)
    device = torch.device("cpu")
    return ImageData(to_device(train, mean, scale, device), to_device(valid, mean, scale, device), NAMES)


@pytest.fixture
def mixed_up_data(small_data: ImageData) -> ImageData:
    """With random validation labels: what is learned from the training images makes the validation loss worse."""
    labels = torch.randint(4, (len(small_data.valid),), generator=torch.Generator().manual_seed(1))
    return replace(small_data, valid=replace(small_data.valid, labels=labels))


@pytest.fixture
def configure() -> Callable[..., TrialConfig]:
    """Makes a configuration of a small network, fast to learn; what else is not given is the default."""

    def configure(*, model: dict[str, Any] | None = None, **settings: Any) -> TrialConfig:
        network = MlpConfig(**{"hidden_layers": 2, "width": 16, **(model or {})})
        usual = {"data": Digits(), "optimizer": AdamW(lr=0.02), "batch_size": 32}
        return TrialConfig(**{**usual, "model": network, **settings})

    return configure


@pytest.fixture
def standstill() -> dict[str, Any]:
    """Steps too small to change a weight: what is measured in training is then what the first weights give."""
    return {"optimizer": configs.Sgd(lr=1e-30, momentum=0.0), "model": {"batch_norm": "none"}}
