"""One optimizer step: forward, backward, clipping, update."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.image_data import Examples
from pipeline.training.augmentation import Augmentation
from pipeline.training.averaging import WeightAverage
from pipeline.training.clipping import Clip, limit_row_norms
from pipeline.training.flat import FlatParameters
from pipeline.training.gradient_flow import GradientFlow, Watch


class StepResult(NamedTuple):
    """What a step brought, on the device, so that it need not be waited for.

    Attributes:
        loss: Mean cross-entropy of the batch, in nats, 0-dimensional.
        hits: Which images were classified correctly, (batch,).
        gradient_norm: Norm of the whole gradient before clipping, 0-dimensional.
        clipped: Whether clipping changed it, 0-dimensional.
    """

    loss: Tensor
    hits: Tensor
    gradient_norm: Tensor
    clipped: Tensor


@dataclass(frozen=True)
class TrainingStep:
    """Takes steps.

    Attributes:
        model: From the examples' inputs (batch, ...) to logits (batch, classes), on the examples' device.
        examples: What is trained on.
        parameters: The model's trainable parameters.
        optimizer: Updates them.
        clip: Bounds the gradient.
        max_norm: Largest norm of a unit's incoming weights; None for no limit.
        precision: Context for forward passes, entered again and again; see `pipeline.training.device.use_precision`.
        flow: Measures some of the steps; None for none.
        augmentation: Changes the images at random; None for none.
        label_smoothing: Share of each label that is spread over all classes.
        part_size: Images that pass through the model at once; None for the whole batch.
        average: The weights' moving average; None for none.
    """

    model: nn.Module
    examples: Examples
    parameters: FlatParameters
    optimizer: torch.optim.Optimizer
    clip: Clip
    max_norm: float | None
    precision: AbstractContextManager[object]
    flow: GradientFlow | None = None
    augmentation: Augmentation | None = None
    label_smoothing: float = 0.0
    part_size: int | None = None
    average: WeightAverage | None = None

    def __call__(self, rows: Tensor) -> StepResult:
        """Takes one step on the examples at the given rows, (batch,)."""
        watch = None if self.flow is None else self.flow.next_step()
        self.parameters.gradient.zero_()
        # What is measured, is measured on the batch's first part.
        passes = [
            self._pass(part, len(part) / len(rows), watch if index == 0 else None)
            for index, part in enumerate(_parts(rows, self.part_size))
        ]
        if watch is not None:
            watch.before_update()
        norm, clipped = self.clip()
        self.optimizer.step()
        if self.max_norm is not None:
            limit_row_norms(self.parameters.weights, self.max_norm)
        if self.average is not None:
            self.average.update()
        if watch is not None:
            watch.after_update()
        if len(passes) == 1:
            return StepResult(*passes[0], norm, clipped)
        losses, hits = zip(*passes, strict=True)
        return StepResult(torch.stack(losses).sum(), torch.cat(hits), norm, clipped)

    def averaged(self) -> AbstractContextManager[None]:
        """Returns a context in which the model has its average weights, if they are averaged."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _pass(self, rows: Tensor, share: float, watch: Watch | None) -> tuple[Tensor, Tensor]:
        """Passes a part of a batch forward and back; returns its share of the loss, and its hits."""
        augmentation = self.augmentation
        inputs, labels = self.examples.batch(rows, None if augmentation is None else augmentation.change_images)
        targets = labels
        if augmentation is not None:
            inputs, targets = augmentation.change_batch(inputs, labels)
        with self.precision, nullcontext() if watch is None else watch:
            logits = self.model(inputs)
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing)
        if share != 1.0:
            loss = loss * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach().argmax(1) == labels


def _parts(rows: Tensor, size: int | None) -> Sequence[Tensor]:
    """Splits a batch's rows into parts of a size.

    A single leftover joins the part before it: batch normalization cannot train on one image.
    """
    if size is None or len(rows) <= size:
        return [rows]
    parts = list(torch.split(rows, size))
    if len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
