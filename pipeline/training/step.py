"""One optimizer step: forward, backward, clipping, update."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.data.augmentation import Augmentation
from pipeline.data.image_data import Examples
from pipeline.models.state import depends_on_batch
from pipeline.optim.averaging import WeightAverage
from pipeline.optim.clipping import Clip, limit_row_norms
from pipeline.optim.losses import Loss
from pipeline.optim.parameters import FlatParameters
from pipeline.training.gradient_flow import GradientFlow, StepRecorder
from pipeline.training.memory import Microbatches, if_it_fits


class StepResult(NamedTuple):
    """What a step brought, on the device, so that it need not be waited for.

    Attributes:
        loss: Mean loss of the batch, in nats, 0-dimensional.
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
        loss: What is minimized.
        clip: Bounds the gradient.
        max_norm: Largest norm of a unit's incoming weights; None for no limit.
        precision: Context for forward passes, entered again and again; see `pipeline.setup.device.use_precision`.
        flow: Measures some of the steps; None for none.
        augmentation: Changes the images at random; None for none.
        microbatches: Splits batches into what passes through the model at once.
        average: The weights' moving average; None for none.
    """

    model: nn.Module
    examples: Examples
    parameters: FlatParameters
    optimizer: torch.optim.Optimizer
    loss: Loss
    clip: Clip
    max_norm: float | None
    precision: AbstractContextManager[object]
    flow: GradientFlow | None = None
    augmentation: Augmentation | None = None
    microbatches: Microbatches = field(default_factory=Microbatches)
    average: WeightAverage | None = None

    def __call__(self, rows: Tensor) -> StepResult:
        """Takes one step on the examples at the given rows, (batch,).

        If it does not fit into a GPU's memory, the parts of this batch and of all after it are halved.

        Raises:
            GpuMemoryError: That would make another trial of it, or is not enough.
        """
        flow = self.flow if self.flow is not None and self.flow.next_step() else None
        while (passed := if_it_fits(rows.device, self._forward_and_back, rows, flow)) is None:
            self.microbatches.halve(len(rows), reason_against=self._why_microbatches_matter())
        passes, recorder = passed
        if recorder is not None:
            recorder.before_update()
        norm, clipped = self.clip()
        self.optimizer.step()
        if self.max_norm is not None:
            limit_row_norms(self.parameters.weights, self.max_norm)
        if self.average is not None:
            self.average.update()
        if recorder is not None:
            recorder.after_update()
        if len(passes) == 1:
            return StepResult(*passes[0], norm, clipped)
        losses, hits = zip(*passes, strict=True)
        return StepResult(torch.stack(losses).sum(), torch.cat(hits), norm, clipped)

    def averaged(self) -> AbstractContextManager[None]:
        """Returns a context in which the model has its average weights, if they are averaged."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _forward_and_back(
        self, rows: Tensor, flow: GradientFlow | None
    ) -> tuple[list[tuple[Tensor, Tensor]], StepRecorder | None]:
        """Computes the gradient; returns what `_pass` does for each part, and what goes on to measure the step."""
        recorder = None if flow is None else StepRecorder(flow)
        self.parameters.gradient.zero_()
        # What is measured, is measured on the batch's first part.
        passes = [
            self._pass(microbatch, len(microbatch) / len(rows), recorder if index == 0 else None)
            for index, microbatch in enumerate(self.microbatches.split(rows))
        ]
        return passes, recorder

    def _pass(self, rows: Tensor, share: float, recorder: StepRecorder | None) -> tuple[Tensor, Tensor]:
        """Passes a part of a batch forward and back; returns its share of the loss, and its hits."""
        augmentation = self.augmentation
        inputs, labels = self.examples.batch(rows, None if augmentation is None else augmentation.change_images)
        targets = labels
        if augmentation is not None:
            inputs, targets = augmentation.change_batch(inputs, labels)
        with self.precision, nullcontext() if recorder is None else recorder:
            logits = self.model(inputs)
        loss = self.loss(logits.float(), targets)
        if share != 1.0:
            loss = loss * share
        loss.backward()
        return loss.detach(), logits.detach().argmax(1) == labels

    def _why_microbatches_matter(self) -> str | None:
        """Returns why a batch in smaller parts would not give the same gradient; None if it would."""
        if depends_on_batch(self.model):
            return "batch normalization takes the statistics of each part"
        if self.augmentation is not None and self.augmentation.mixes:
            return "mixup and cutmix mix the images of each part"
        return None
