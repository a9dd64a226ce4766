"""One optimizer step: forward, backward, clipping, update."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.image_data import LabeledImages
from pipeline.training.clipping import Clip, limit_row_norms
from pipeline.training.flat import FlatParameters
from pipeline.training.gradient_flow import GradientFlow


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
        model: From images (batch, channels, height, width) to logits (batch, classes), on the images' device.
        images: Training images.
        parameters: The model's trainable parameters.
        optimizer: Updates them.
        clip: Bounds the gradient.
        max_norm: Largest norm of a unit's incoming weights; None for no limit.
        precision: Context for forward passes, entered again and again; see `pipeline.training.device.use_precision`.
        flow: Measures some of the steps; None for none.
    """

    model: nn.Module
    images: LabeledImages
    parameters: FlatParameters
    optimizer: torch.optim.Optimizer
    clip: Clip
    max_norm: float | None
    precision: AbstractContextManager[object]
    flow: GradientFlow | None = None

    def __call__(self, rows: Tensor) -> StepResult:
        """Takes one step on the images at the given rows, (batch,)."""
        watch = None if self.flow is None else self.flow.next_step()
        images, labels = self.images.batch(rows)
        with self.precision:
            if watch is None:
                logits = self.model(images)
            else:
                with watch:
                    logits = self.model(images)
        loss = functional.cross_entropy(logits.float(), labels)
        self.parameters.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        if watch is not None:
            watch.before_update()
        norm, clipped = self.clip()
        self.optimizer.step()
        if self.max_norm is not None:
            limit_row_norms(self.parameters.weights, self.max_norm)
        if watch is not None:
            watch.after_update()
        return StepResult(loss.detach(), logits.detach().argmax(1) == labels, norm, clipped)
