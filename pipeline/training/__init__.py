"""Training. `start` unpacks a configuration into the plain arguments of the loop."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config import TrialConfig
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.records import EpochResult
from pipeline.training.device import use_precision
from pipeline.training.early_stopping import BestWeights
from pipeline.training.evaluation import evaluate
from pipeline.training.images import prepared, prepared_data
from pipeline.training.loop import train
from pipeline.training.phases import Phase, PhaseBuilder
from pipeline.training.schedules import Schedule
from pipeline.training.step import TrainingStep
from pipeline.training.transfer import plan


@dataclass(frozen=True)
class Training:
    """A training that is about to run.

    Attributes:
        config: What is trained.
        phase: The first phase, of several where layers learn one after the other.
        best: The best weights so far.
        epochs: Trains while it is iterated; see `pipeline.training.loop.train`.
    """

    config: TrialConfig
    phase: Phase
    best: BestWeights
    epochs: Iterator[EpochResult]

    @property
    def step(self) -> TrainingStep:
        """Takes the first phase's steps."""
        return self.phase.step

    @property
    def schedule(self) -> Schedule:
        """Sets the rates before each of them."""
        return self.phase.schedule

    @property
    def model(self) -> nn.Module:
        """The network; it has the best epoch's weights once ``epochs`` has ended or is closed."""
        return self.best.network_of_best or self.phase.network

    @property
    def precision(self) -> AbstractContextManager[object]:
        """Context for forward passes."""
        return self.step.precision

    def prepared(self, images: LabeledImages) -> LabeledImages:
        """Returns images as the network takes them; see `pipeline.training.images.prepared`."""
        return prepared(self.config.model, images)

    def evaluate(self, images: LabeledImages) -> tuple[float, float]:
        """Returns loss and accuracy on some images; see `pipeline.training.evaluation.evaluate`."""
        return evaluate(self.model, self.prepared(images), self.precision)


def start(
    config: TrialConfig, data: ImageData, *, measure_every: int | None = None, cache: FeatureCache | None = None
) -> Training:
    """Builds the model, optimizer and schedule of a configuration.

    PyTorch's global generator is seeded: two trainings in one process must run one after the other.

    Args:
        config: What to train.
        data: Training and validation images, as `load_data` returns them.
        measure_every: Optimizer steps from one measurement of gradient flow to the next; None for none.
        cache: Where the output of frozen layers is kept; None to compute it in every epoch.

    Raises:
        DeviceError: The precision does not exist on the data's device.
        ModelError: The network cannot be built.
        DataError: The images do not suit it, or the cache cannot be read or written.
    """
    precision = use_precision(config.precision, data.train.labels.device)
    torch.manual_seed(config.seed)
    builder = PhaseBuilder(
        config, prepared_data(config.model, data), precision, measure_every, cache, lambda: data.fingerprint
    )
    phases, best = plan(builder), BestWeights()
    first = next(phases)
    epochs = train(
        phases,
        first,
        best,
        batch_size=config.batch_size,
        monitor=config.early_stopping.monitor,
        patience=config.early_stopping.patience,
        min_delta=config.early_stopping.min_delta,
        seed=config.seed,
    )
    return Training(config, first, best, epochs)
