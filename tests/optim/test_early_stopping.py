"""When training stops, and what it leaves behind: the best epoch's weights and buffers."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.metrics import Monitor
from pipeline.config.training import EarlyStopping, Sgd
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.optim.early_stopping import BestWeights
from pipeline.training.start import start

STANDSTILL = {"optimizer": Sgd(lr=1e-30), "model": {"batch_norm": "none"}}


def test_patience_5_after_the_best_at_epoch_1_stops_at_epoch_6(
    small_data: ImageData, configure: Callable[..., TrialConfig]
) -> None:
    config = configure(**STANDSTILL, epochs=20, early_stopping=EarlyStopping(patience=5))
    results = list(start(config, small_data).epochs)
    assert [result.is_best for result in results] == [True, False, False, False, False, False]


def test_without_patience_training_never_stops_early(
    small_data: ImageData, configure: Callable[..., TrialConfig]
) -> None:
    config = configure(**STANDSTILL, epochs=12, early_stopping=EarlyStopping(patience=None))
    assert len(list(start(config, small_data).epochs)) == 12


def test_a_change_below_min_delta_is_no_improvement(
    small_data: ImageData, configure: Callable[..., TrialConfig]
) -> None:
    stopping = EarlyStopping(monitor="valid_loss", patience=2, min_delta=10.0)
    results = list(start(configure(epochs=9, early_stopping=stopping), small_data).epochs)
    assert results[2].valid_loss < results[0].valid_loss
    assert [result.is_best for result in results] == [True, False, False]


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_accuracy"])
def test_the_monitor_decides_which_epoch_is_best(
    monitor: Monitor, mixed_up_data: ImageData, configure: Callable[..., TrialConfig]
) -> None:
    stopping = EarlyStopping(monitor=monitor, patience=None)
    results = list(start(configure(epochs=10, early_stopping=stopping), mixed_up_data).epochs)
    records = {
        "valid_loss": _records([-result.valid_loss for result in results]),
        "valid_accuracy": _records([result.valid_accuracy for result in results]),
    }
    assert records["valid_loss"] != records["valid_accuracy"]
    assert [result.is_best for result in results] == records[monitor]


def _records(values: list[float]) -> list[bool]:
    return [value > max(values[:index], default=-math.inf) for index, value in enumerate(values)]


@pytest.mark.parametrize("closed_after", [None, 4])
def test_the_best_weights_and_buffers_come_back(
    closed_after: int | None, mixed_up_data: ImageData, configure: Callable[..., TrialConfig]
) -> None:
    model = {"batch_norm": "after", "input_batch_norm": True}
    stopping = EarlyStopping(monitor="valid_loss", patience=None)
    training = start(configure(model=model, epochs=6, early_stopping=stopping), mixed_up_data)
    best = last = _state(training.model)
    for result in training.epochs:
        last = _state(training.model)
        if result.is_best:
            best = last
        if result.epoch == closed_after:
            training.epochs.close()
            break
    assert not any(_equal(best, last).values())
    assert all(_equal(best, _state(training.model)).values())


def test_without_a_best_epoch_the_module_stays_as_it_is() -> None:
    layer = nn.Linear(2, 2)
    before = _state(layer)
    best = BestWeights()
    best.follow(layer)
    best.restore()
    assert all(_equal(before, _state(layer)).values())


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _equal(state: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, bool]:
    return {name: torch.equal(tensor, other[name]) for name, tensor in state.items()}
