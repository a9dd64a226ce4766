"""The first steps of a training, watched closely: for diagnosis and for the learning-rate range test."""

import itertools
import math
from dataclasses import dataclass

from pipeline.config.trial import TrialConfig
from pipeline.data.batches import epoch_batches
from pipeline.data.image_data import ImageData
from pipeline.records.results import LayerFlow
from pipeline.training.start import start

# The range test ends where the smoothed loss is this many times its smallest so far.
BLOWN_UP = 4.0
SMOOTHING = 0.95


@dataclass(frozen=True)
class ProbeRun:
    """The first steps of a training.

    Attributes:
        layers: What was measured, the mean over the measured steps.
        losses: The loss of each step, in nats, up to the first that is not finite.
        diverged: How it diverged, if it did.
    """

    layers: tuple[LayerFlow, ...]
    losses: tuple[float, ...]
    diverged: str | None


def first_steps(config: TrialConfig, data: ImageData, *, num_steps: int, measure_every: int) -> ProbeRun:
    """Takes the first steps of a training, over as many epochs as they need; nothing is validated.

    Args:
        config: What to train.
        data: Its images.
        num_steps: Optimizer steps.
        measure_every: Steps from one measurement to the next.
    """
    training = start(config, data, measure_every=measure_every)
    training.step.model.train()
    losses: list[float] = []
    epochs = epoch_batches(data.train, config.batch_size, config.seed, sampling=config.data.sampling)
    batches = itertools.chain.from_iterable(epochs)
    for number, rows in enumerate(itertools.islice(batches, num_steps)):
        training.schedule.set_rates(number)
        loss = float(training.step(rows).loss)
        if not math.isfinite(loss):
            diverged = f"the training loss at step {number + 1} is not finite"
            break
        losses.append(loss)
    else:
        diverged = None
    assert training.step.flow is not None
    return ProbeRun(training.step.flow.collect(), tuple(losses), diverged)


def range_test(
    config: TrialConfig, data: ImageData, *, low: float, high: float, num_steps: int
) -> tuple[list[float], list[float]]:
    """Trains while the learning rate rises exponentially from step to step: Smith, WACV 2017.

    Args:
        config: What to train; its schedule is not used.
        data: Its images.
        low: The first learning rate.
        high: The last one; the test ends before where the loss blows up.
        num_steps: Optimizer steps from low to high.

    Returns:
        The rates, and the exponentially smoothed training losses (corrected for their start), in nats.
    """
    training = start(config, data)
    training.step.model.train()
    rates_of_groups = training.schedule.rates
    rates: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    epochs = epoch_batches(data.train, config.batch_size, config.seed, sampling=config.data.sampling)
    batches = itertools.chain.from_iterable(epochs)
    for number, rows in enumerate(itertools.islice(batches, num_steps)):
        rate = low * (high / low) ** (number / max(num_steps - 1, 1))
        for group, own in zip(training.step.optimizer.param_groups, rates_of_groups, strict=True):
            group["lr"] = rate * own / config.optimizer.lr  # a backbone's layers may learn at a share of the rate
        loss = float(training.step(rows).loss)
        average = SMOOTHING * average + (1.0 - SMOOTHING) * loss
        value = average / (1.0 - SMOOTHING ** (number + 1))
        if not math.isfinite(value) or (smoothed and value > BLOWN_UP * min(smoothed)):
            break
        rates.append(rate)
        smoothed.append(value)
    return rates, smoothed
