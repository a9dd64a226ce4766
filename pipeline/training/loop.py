"""The training loop: a generator that yields after every epoch. It knows neither Optuna nor MLflow.

Whoever drives it decides what to report, when to prune and when to stop: closing the generator ends the training.
"""

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.data.image_data import ImageData
from pipeline.records import EpochResult, LayerFlow
from pipeline.study_config import direction
from pipeline.training.early_stopping import BestWeights, Improvement
from pipeline.training.evaluation import evaluate
from pipeline.training.schedules import Schedule
from pipeline.training.step import StepResult, TrainingStep
from pipeline.training_config import Monitor


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


def batches_per_epoch(num_images: int, batch_size: int) -> int:
    """Returns the batches in an epoch: the last may be smaller, but a single leftover image is left out.

    Batch normalization cannot train on one image; another one is left out in each epoch.
    """
    full, rest = divmod(num_images, batch_size)
    return full + (rest > 1 or full == 0)


def train(
    step: TrainingStep,
    data: ImageData,
    *,
    schedule: Schedule,
    batch_size: int,
    epochs: int,
    monitor: Monitor,
    patience: int | None,
    min_delta: float,
    seed: int,
) -> Iterator[EpochResult]:
    """Trains a model; yields after each epoch; at the end the best epoch's weights and buffers are back in place.

    The same seed gives the same numbers, bit for bit, on the same machine with one thread.

    Args:
        step: Takes steps, and holds the model.
        data: Training and validation images.
        schedule: Sets the optimizer's rates before every step.
        batch_size: Images a step.
        epochs: Epochs at most.
        monitor: The measure that decides which epoch is best, and when to stop.
        patience: Epochs without improvement after which training ends; None for never.
        min_delta: An improvement is a change by more than this.
        seed: Of the order of the batches.

    Raises:
        DivergedError: A loss is not finite.
    """
    batches = epoch_batches(data, batch_size, seed)
    num_batches = batches_per_epoch(len(data.train), batch_size)
    num_images = min(num_batches * batch_size, len(data.train))
    improvement = Improvement(maximize=direction(monitor) == "maximize", min_delta=min_delta)
    best = BestWeights(step.model)
    num_steps, lr = 0, 0.0
    try:
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            step.model.train()
            results: list[StepResult] = []
            for rows in next(batches):
                lr = schedule.set_rates(num_steps)
                results.append(step(rows))
                num_steps += 1
            losses, hits, norms, clips = zip(*results, strict=True)
            # The device is waited for here and not at every step.
            finite = torch.stack(losses).isfinite().tolist()
            flow = () if step.flow is None else step.flow.collect()
            seconds = time.perf_counter() - started
            if not all(finite):
                raise DivergedError(epoch, num_steps - num_batches + finite.index(False) + 1, flow)
            valid_loss, valid_accuracy = evaluate(step.model, data.valid, step.precision)
            if not math.isfinite(valid_loss):
                raise DivergedError(epoch, None, flow)
            measures = {"valid_loss": valid_loss, "valid_accuracy": valid_accuracy}
            schedule.end_epoch(measures)
            if is_best := improvement.improved(measures[monitor]):
                best.keep()
            yield EpochResult(
                epoch=epoch,
                train_loss=float(torch.stack(losses).mean()),
                train_accuracy=int(torch.cat(hits).sum()) / num_images,
                valid_loss=valid_loss,
                valid_accuracy=valid_accuracy,
                lr=lr,
                gradient_norm=float(torch.stack(norms).mean()),
                clipped=float(torch.stack(clips).float().mean()),
                samples_per_second=num_images / seconds,
                seconds=seconds,
                is_best=is_best,
                gradient_flow=flow,
            )
            if patience is not None and improvement.epochs_since >= patience:
                return
    finally:
        best.restore()


def epoch_batches(data: ImageData, batch_size: int, seed: int) -> Iterator[tuple[Tensor, ...]]:
    """Yields, epoch after epoch without end, the rows of its batches: every image once, in a new order.

    Args:
        data: The training images.
        batch_size: Images a batch; the last one may be smaller, see `batches_per_epoch`.
        seed: Of the orders.
    """
    order = torch.Generator().manual_seed(seed)
    num_batches = batches_per_epoch(len(data.train), batch_size)
    while True:
        rows = torch.randperm(len(data.train), generator=order).to(data.train.labels.device)
        yield torch.split(rows, batch_size)[:num_batches]
