"""The first steps of a training, and the learning-rate range test."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pipeline.analysis.probe import BLOWN_UP, first_steps, range_test
from pipeline.config import training as configs
from pipeline.config.model import Dropout
from pipeline.config.trial import TrialConfig
from pipeline.data.batches import epoch_batches
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.training.start import start

Configure = Callable[..., TrialConfig]

STANDSTILL = {"optimizer": configs.Sgd(lr=1e-30, momentum=0.0), "model": {"batch_norm": "none"}}
PLAIN = {"optimizer": configs.Sgd(lr=0.05, momentum=0.0), "model": {"batch_norm": "none"}}


def _poisoned(data: ImageData, row: int) -> ImageData:
    images, _ = data.train.slice(0, len(data.train))
    images[row] = torch.nan
    train = LabeledImages(images, data.train.labels, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    return replace(data, train=train)


def _losses(config: TrialConfig, data: ImageData, rates: list[float]) -> list[float]:
    """The losses of steps with these rates, over the batches of one epoch after the other."""
    training = start(config, data)
    batches = (rows for epoch in epoch_batches(data.train, config.batch_size, config.seed) for rows in epoch)
    losses = []
    for rate, rows in zip(rates, batches, strict=False):
        for group in training.step.optimizer.param_groups:
            group["lr"] = rate
        losses.append(float(training.step(rows).loss))
    return losses


@pytest.mark.parametrize("num_steps", [1, 7, 8, 9, 20])
def test_it_takes_exactly_that_many_steps_over_as_many_epochs_as_they_need(
    num_steps: int, small_data: ImageData, configure: Configure
) -> None:
    """Eight steps make an epoch, and the configuration has only one."""
    probe_run = first_steps(configure(epochs=1), small_data, num_steps=num_steps, measure_every=5)
    assert len(probe_run.losses) == num_steps
    assert probe_run.diverged is None
    assert [layer.layer for layer in probe_run.layers] == [1, 2, 3]


@pytest.mark.parametrize("batch_norm", ["none", "before"])
def test_its_steps_are_those_of_the_training(batch_norm: str, small_data: ImageData, configure: Configure) -> None:
    model = {"batch_norm": batch_norm, "dropout": Dropout(rate=0.3)}
    config = configure(model=model, epochs=1, schedule=configs.OneCycle())
    (result,) = start(config, small_data, measure_every=1).epochs
    probe_run = first_steps(config, small_data, num_steps=8, measure_every=1)
    assert sum(probe_run.losses) / 8 == pytest.approx(result.train_loss, rel=1e-5)
    assert probe_run.layers == result.gradient_flow


def test_its_schedule_moves(small_data: ImageData, configure: Configure) -> None:
    config = configure(**PLAIN, schedule=configs.Exponential(step_epochs=1.0))
    rates = [0.05 * 0.1 ** (step / 8) for step in range(12)]
    probe_run = first_steps(config, small_data, num_steps=12, measure_every=12)
    assert list(probe_run.losses) == pytest.approx(_losses(config, small_data, rates), rel=1e-5)


def test_divergence_is_reported_with_its_step(small_data: ImageData, configure: Configure) -> None:
    config = configure(seed=5)
    row = int(next(epoch_batches(small_data.train, 32, 5))[2][0])
    probe_run = first_steps(config, _poisoned(small_data, row), num_steps=8, measure_every=1)
    assert probe_run.diverged == "the training loss at step 3 is not finite"
    assert len(probe_run.losses) == 2
    assert all(math.isfinite(loss) for loss in probe_run.losses)
    assert probe_run.layers == first_steps(config, small_data, num_steps=2, measure_every=1).layers


def test_the_range_is_swept_geometrically(small_data: ImageData, configure: Configure) -> None:
    rates, smoothed = range_test(configure(), small_data, low=1e-5, high=1e-2, num_steps=13)
    assert rates == pytest.approx([1e-5 * 10 ** (step / 4) for step in range(13)])
    assert len(smoothed) == 13


def test_a_single_step_has_the_lowest_rate(small_data: ImageData, configure: Configure) -> None:
    rates, smoothed = range_test(configure(), small_data, low=1e-3, high=1.0, num_steps=1)
    assert rates == [1e-3]
    assert len(smoothed) == 1


def test_every_step_is_made_with_its_rate_and_the_losses_are_smoothed(
    small_data: ImageData, configure: Configure
) -> None:
    """Weights 0.95^k of the loss k steps ago, divided by their sum: the first one is the first loss."""
    config = configure(**PLAIN, schedule=configs.Exponential(step_epochs=0.1))
    rates, smoothed = range_test(config, small_data, low=1e-3, high=0.1, num_steps=20)
    losses = _losses(config, small_data, rates)
    expected = []
    for number in range(1, 21):
        weights = [0.95 ** (number - 1 - step) for step in range(number)]
        expected.append(sum(map(math.prod, zip(weights, losses, strict=False))) / sum(weights))
    assert smoothed[0] == pytest.approx(losses[0], rel=1e-6)
    assert smoothed == pytest.approx(expected, rel=1e-5)


def test_the_mean_of_equal_losses_is_their_value(small_data: ImageData, configure: Configure) -> None:
    """One image, one batch, and rates too small to learn with."""
    train = replace(small_data.train, images=small_data.train.images[:1], labels=small_data.train.labels[:1])
    data = replace(small_data, train=train)
    _, smoothed = range_test(configure(**STANDSTILL), data, low=1e-30, high=1e-29, num_steps=10)
    assert smoothed == pytest.approx([smoothed[0]] * 10, rel=1e-6)


def test_it_stops_where_the_loss_blows_up(small_data: ImageData, configure: Configure) -> None:
    config = configure(**PLAIN)
    rates, smoothed = range_test(config, small_data, low=1e-2, high=1e4, num_steps=60)
    assert 1 < len(rates) == len(smoothed) < 60
    assert rates == pytest.approx([1e-2 * 1e6 ** (step / 59) for step in range(len(rates))])
    assert all(value <= BLOWN_UP * min(smoothed[:index]) for index, value in enumerate(smoothed) if index)


def test_it_stops_where_the_loss_is_not_finite(small_data: ImageData, configure: Configure) -> None:
    config = configure(seed=5)
    row = int(next(epoch_batches(small_data.train, 32, 5))[3][0])
    rates, smoothed = range_test(config, _poisoned(small_data, row), low=1e-6, high=1e-5, num_steps=8)
    assert len(rates) == len(smoothed) == 3
    assert all(math.isfinite(value) for value in smoothed)
