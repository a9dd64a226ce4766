from collections.abc import Callable

import optuna
import pytest
import torch

from pipeline.config.data import Digits
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.records.events import Event


@pytest.fixture(scope="session")
def small_data() -> ImageData:
    """200 digits."""
    torch.set_num_threads(1)
    return load_data(Digits(max_train_images=200))


class Recorder:
    """Keeps the events of a trial; asks it to stop after so many epochs."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))


@pytest.fixture
def config() -> Callable[..., TrialConfig]:
    """Makes a configuration that trains in a moment."""

    def make(**settings: object) -> TrialConfig:
        fields = {"data": {"kind": "digits", "max_train_images": 200}, "epochs": 4, **settings}
        return TrialConfig.model_validate(fields)

    return make
