"""Training. `start` unpacks a configuration into the plain arguments of the loop."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config import TrialConfig
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.models import build_model
from pipeline.records import EpochResult
from pipeline.training.clipping import build_clip
from pipeline.training.device import use_precision
from pipeline.training.evaluation import evaluate
from pipeline.training.flat import FlatParameters
from pipeline.training.gradient_flow import GradientFlow
from pipeline.training.loop import batches_per_epoch, train
from pipeline.training.optimizers import build_optimizer
from pipeline.training.schedules import Schedule, build_schedule
from pipeline.training.step import TrainingStep


@dataclass(frozen=True)
class Training:
    """A training that is about to run.

    Attributes:
        step: Takes steps, and holds the model: it has the best epoch's weights once ``epochs`` has ended or is closed.
        schedule: Sets the rates before each step.
        epochs: Trains while it is iterated; see `pipeline.training.loop.train`.
    """

    step: TrainingStep
    schedule: Schedule
    epochs: Iterator[EpochResult]

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.step.model

    @property
    def precision(self) -> AbstractContextManager[object]:
        """Context for forward passes."""
        return self.step.precision

    def evaluate(self, images: LabeledImages) -> tuple[float, float]:
        """Returns loss and accuracy on some images; see `pipeline.training.evaluation.evaluate`."""
        return evaluate(self.model, images, self.precision)


def start(config: TrialConfig, data: ImageData, *, measure_every: int | None = None) -> Training:
    """Builds the model, optimizer and schedule of a configuration.

    PyTorch's global generator is seeded: two trainings in one process must run one after the other.

    Args:
        config: What to train.
        data: Training and validation images.
        measure_every: Optimizer steps from one measurement of gradient flow to the next; None for none.

    Raises:
        DeviceError: The precision does not exist on the data's device.
    """
    device = data.train.labels.device
    precision = use_precision(config.precision, device)
    torch.manual_seed(config.seed)
    model = build_model(config.model, image_shape=data.image_shape, num_classes=data.num_classes).to(device)
    parameters = FlatParameters(model)
    optimizer = build_optimizer(config.optimizer, parameters)
    schedule = build_schedule(
        config.schedule,
        optimizer,
        steps_per_epoch=batches_per_epoch(len(data.train), config.batch_size),
        epochs=config.epochs,
    )
    step = TrainingStep(
        model,
        data.train,
        parameters=parameters,
        optimizer=optimizer,
        clip=build_clip(config.clip, parameters),
        max_norm=config.max_norm,
        precision=precision,
        flow=None if measure_every is None else GradientFlow(model, measure_every),
    )
    epochs = train(
        step,
        data,
        schedule=schedule,
        batch_size=config.batch_size,
        epochs=config.epochs,
        monitor=config.early_stopping.monitor,
        patience=config.early_stopping.patience,
        min_delta=config.early_stopping.min_delta,
        seed=config.seed,
    )
    return Training(step, schedule, epochs)
