"""The training loop: a generator that yields after every epoch. It knows neither Optuna nor MLflow.

Whoever drives it decides what to report, when to prune and when to stop: closing the generator ends the training.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.records import EpochResult
from pipeline.study_config import direction
from pipeline.training.clipping import Clip, limit_row_norms
from pipeline.training.early_stopping import BestWeights, Improvement
from pipeline.training.flat import FlatParameters
from pipeline.training.schedules import Schedule
from pipeline.training_config import Monitor

# Values evaluated at once: few enough for a processor's cache, enough to keep a GPU busy.
VALUES_PER_CHUNK = 2**21


class DivergedError(Exception):
    """The loss is no longer finite.

    Attributes:
        epoch: The epoch in which it happened, from 1.
        step: The optimizer step of the whole training, from 1; None if it was the validation loss.
    """

    def __init__(self, epoch: int, step: int | None) -> None:
        self.epoch, self.step = epoch, step
        what = f"training loss at step {step}" if step is not None else "validation loss"
        super().__init__(f"the {what} is not finite, in epoch {epoch}")


def batches_per_epoch(num_images: int, batch_size: int) -> int:
    """Returns the batches in an epoch: the last may be smaller, but a single leftover image is left out.

    Batch normalization cannot train on one image; another one is left out in each epoch.
    """
    full, rest = divmod(num_images, batch_size)
    return full + (rest > 1 or full == 0)


def train(
    model: nn.Module,
    data: ImageData,
    *,
    parameters: FlatParameters,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    clip: Clip,
    max_norm: float | None,
    batch_size: int,
    epochs: int,
    monitor: Monitor,
    patience: int | None,
    min_delta: float,
    seed: int,
    precision: AbstractContextManager[object],
) -> Iterator[EpochResult]:
    """Trains a model; yields after each epoch; at the end the best epoch's weights and buffers are back in place.

    The same seed gives the same numbers, bit for bit, on the same machine with one thread.

    Args:
        model: From images (batch, channels, height, width) to logits (batch, classes), on the data's device.
        data: Training and validation images.
        parameters: The model's trainable parameters.
        optimizer: Updates them.
        schedule: Sets the optimizer's rates before every step.
        clip: Bounds the gradient.
        max_norm: Largest norm of a unit's incoming weights; None for no limit.
        batch_size: Images a step.
        epochs: Epochs at most.
        monitor: The measure that decides which epoch is best, and when to stop.
        patience: Epochs without improvement after which training ends; None for never.
        min_delta: An improvement is a change by more than this.
        seed: Of the order of the batches.
        precision: Context for forward passes, entered again and again; see `pipeline.training.device.use_precision`.

    Raises:
        DivergedError: A loss is not finite.
    """
    device = data.train.labels.device
    order = torch.Generator().manual_seed(seed)
    num_batches = batches_per_epoch(len(data.train), batch_size)
    improvement = Improvement(maximize=direction(monitor) == "maximize", min_delta=min_delta)
    best = BestWeights(model)
    step, lr = 0, 0.0
    try:
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            model.train()
            losses: list[Tensor] = []
            hits: list[Tensor] = []
            norms: list[Tensor] = []
            clips: list[Tensor] = []
            rows = torch.randperm(len(data.train), generator=order).to(device)
            for batch in torch.split(rows, batch_size)[:num_batches]:
                lr = schedule.set_rates(step)
                images, labels = data.train.batch(batch)
                with precision:
                    logits = model(images)
                loss = functional.cross_entropy(logits.float(), labels)
                parameters.gradient.zero_()
                loss.backward()  # type: ignore[no-untyped-call]
                norm, clipped = clip()
                optimizer.step()
                if max_norm is not None:
                    limit_row_norms(parameters.weights, max_norm)
                losses.append(loss.detach())
                hits.append(logits.detach().argmax(1) == labels)
                norms.append(norm)
                clips.append(clipped)
                step += 1
            # The device is waited for here and not at every step.
            finite = torch.stack(losses).isfinite().tolist()
            seconds = time.perf_counter() - started
            if not all(finite):
                raise DivergedError(epoch, step - num_batches + finite.index(False) + 1)
            valid_loss, valid_accuracy = evaluate(model, data.valid, precision)
            if not torch.isfinite(torch.tensor(valid_loss)):
                raise DivergedError(epoch, None)
            measures = {"valid_loss": valid_loss, "valid_accuracy": valid_accuracy}
            schedule.end_epoch(measures)
            if is_best := improvement.improved(measures[monitor]):
                best.keep()
            num_images = min(num_batches * batch_size, len(data.train))
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
            )
            if patience is not None and improvement.epochs_since >= patience:
                return
    finally:
        best.restore()


@torch.inference_mode()
def evaluate(model: nn.Module, data: LabeledImages, precision: AbstractContextManager[object]) -> tuple[float, float]:
    """Measures a model in evaluation mode.

    Args:
        model: From images to logits.
        data: What to measure it on.
        precision: Context for forward passes.

    Returns:
        Mean cross-entropy in nats, and the share of images classified correctly.
    """
    model.eval()
    chunk = max(1, VALUES_PER_CHUNK // data.images[0].numel())
    losses, hits = [], []
    for start in range(0, len(data), chunk):
        images, labels = data.slice(start, start + chunk)
        with precision:
            logits = model(images)
        logits = logits.float()
        losses.append(functional.cross_entropy(logits, labels, reduction="sum"))
        hits.append((logits.argmax(1) == labels).sum())
    return float(torch.stack(losses).sum()) / len(data), int(torch.stack(hits).sum()) / len(data)
