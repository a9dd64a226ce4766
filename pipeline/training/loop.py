"""The training loop: a generator that yields after every epoch. It knows neither Optuna nor MLflow.

Whoever drives it decides what to report, when to prune and when to stop: closing the generator ends the training.
"""

import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.config.data import Sampling
from pipeline.config.metrics import Monitor
from pipeline.data.batches import epoch_batches
from pipeline.records.results import EpochResult, LayerFlow
from pipeline.training.evaluation import evaluate, evaluate_metrics
from pipeline.training.metrics import MetricMeter
from pipeline.training.phases import Phase
from pipeline.training.state import TrainingState

if TYPE_CHECKING:
    from pipeline.training.step import StepResult


class DivergedError(Exception):
    """The loss is no longer finite.

    Attributes:
        epoch: The epoch in which it happened, from 1.
        step: The optimizer step of the whole training, from 1; None if it was the validation loss.
        gradient_flow: What had been measured in that epoch before.
    """

    def __init__(self, epoch: int, step: int | None, gradient_flow: tuple[LayerFlow, ...] = ()) -> None:
        self.epoch, self.step, self.gradient_flow = epoch, step, gradient_flow
        what = f"training loss at step {step}" if step is not None else "validation loss"
        super().__init__(f"the {what} is not finite, in epoch {epoch}")


def train(
    training_state: TrainingState,
    *,
    batch_size: int,
    monitor: Monitor,
    seed: int,
    sampling: Sampling = "natural",
    meters: Mapping[str, MetricMeter] | None = None,
) -> Generator[EpochResult]:
    """Trains a model; yields after each epoch; at the end the best epoch's weights and buffers are back in place.

    The best epoch is the best of all phases. A phase begins with its network's best weights, if the best so far are of
    that network, and with all its patience; without improvement it ends early, and the next one begins.

    The same seed gives the same numbers, bit for bit, on the same machine with one thread: also where the position is
    loaded from a checkpoint.

    Args:
        training_state: Where to go on; right after an epoch was yielded, its state is what a checkpoint needs.
        batch_size: Examples a step.
        monitor: The measure that decides which epoch is best, and when to stop.
        seed: Of the order of the batches.
        sampling: What an epoch consists of.
        meters: What measures metrics besides accuracy and loss, by name; a study's, and what is monitored.

    Raises:
        DivergedError: A loss is not finite.
        GpuMemoryError: The training does not fit into the GPU's memory.
    """
    examples = training_state.phase.step.examples
    batches = epoch_batches(examples, batch_size, seed, sampling=sampling, epochs_done=training_state.epoch)
    try:
        for phase in training_state.phases():
            while not training_state.has_phase_ended:
                rows = next(batches)
                passed = _pass_over(phase, rows, training_state)
                with phase.step.averaged():
                    valid_loss, valid_accuracy, further = _validate(phase, meters)
                    if not math.isfinite(valid_loss):
                        raise DivergedError(training_state.epoch + 1, None, passed.gradient_flow)
                    measures = {"valid_loss": valid_loss, "valid_accuracy": valid_accuracy, **further}
                    if is_best := training_state.improvement.improved(measures[monitor]):
                        training_state.best.keep()
                phase.schedule.end_epoch(measures)
                is_first_epoch = training_state.epoch_of_phase == 0
                backbone_images, cached_images = phase.images_through_backbone(is_first_epoch=is_first_epoch)
                training_state.end_epoch(num_steps=len(rows), is_best=is_best)
                yield EpochResult(
                    epoch=training_state.epoch,
                    valid_loss=valid_loss,
                    valid_accuracy=valid_accuracy,
                    is_best=is_best,
                    phase=phase.name,
                    backbone_images=backbone_images,
                    cached_images=cached_images,
                    metrics=further,
                    **vars(passed),
                )
    finally:
        training_state.best.restore()


def _validate(phase: Phase, meters: Mapping[str, MetricMeter] | None) -> tuple[float, float, dict[str, float]]:
    """Returns loss, accuracy, and what else is asked for; without that nothing is done that was not always done."""
    step = phase.step
    if not meters:
        return *evaluate(step.model, phase.valid, step.precision), {}
    return evaluate_metrics(step.model, phase.valid, step.precision, meters)


@dataclass(frozen=True)
class _Passed:
    """A pass over the training examples, as `EpochResult` says it."""

    train_loss: float
    train_accuracy: float
    lr: float
    gradient_norm: float
    clipped: float
    samples_per_second: float
    seconds: float
    gradient_flow: tuple[LayerFlow, ...]


def _pass_over(phase: Phase, batches: Sequence[Tensor], training_state: TrainingState) -> _Passed:
    """Trains on the examples of an epoch.

    Args:
        phase: The phase.
        batches: Rows of the batches.
        training_state: What the training has done before.

    Raises:
        DivergedError: The loss is not finite.
        GpuMemoryError: A step does not fit into the GPU's memory.
    """
    steps_of_phase = training_state.epoch_of_phase * len(batches)
    step, lr = phase.step, 0.0
    num_examples = sum(len(rows) for rows in batches)
    started = time.perf_counter()
    step.model.train()
    results: list[StepResult] = []
    for number, rows in enumerate(batches):
        lr = phase.schedule.set_rates(steps_of_phase + number)
        results.append(step(rows))
    losses_on_device, hits, norms, clips = zip(*results, strict=True)
    # The device is waited for here and not at every step.
    losses = torch.stack(losses_on_device).tolist()
    flow = () if step.flow is None else step.flow.collect()
    seconds = time.perf_counter() - started
    if bad := [number for number, loss in enumerate(losses, 1) if not math.isfinite(loss)]:
        raise DivergedError(training_state.epoch + 1, training_state.num_steps + bad[0], flow)
    return _Passed(
        train_loss=math.fsum(loss * len(rows) for loss, rows in zip(losses, batches, strict=True)) / num_examples,
        train_accuracy=int(torch.cat(hits).sum()) / num_examples,
        lr=lr,
        gradient_norm=float(torch.stack(norms).mean()),
        clipped=float(torch.stack(clips).float().mean()),
        samples_per_second=num_examples / seconds,
        seconds=seconds,
        gradient_flow=flow,
    )
