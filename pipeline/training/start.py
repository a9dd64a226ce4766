"""Training. `start` unpacks a configuration into the plain arguments of the loop."""

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pipeline.config.metrics import direction, measured_metrics
from pipeline.config.training import Performance
from pipeline.config.transfer import NoAugmentation
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DataError
from pipeline.core.improvement import Improvement
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.optim.schedules import Schedule
from pipeline.records.results import EpochResult
from pipeline.setup.device import use_precision
from pipeline.setup.images import prepared, prepared_data
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.evaluation import evaluate
from pipeline.training.loop import train
from pipeline.training.metrics import MetricMeter, build_meters
from pipeline.training.phases import Phase, PhaseBuilder
from pipeline.training.repetition import Repetition, repeated
from pipeline.training.state import TrainingState
from pipeline.training.step import TrainingStep
from pipeline.training.transfer import plan


@dataclass(frozen=True)
class Training:
    """A training that is about to run.

    Attributes:
        config: What is trained.
        training_state: Where it is; before any epoch, in the first phase or in that of the checkpoint.
        epochs: Trains while it is iterated, until it is closed; see `pipeline.training.loop.train`.
        fold: Number of the fold that it is validated on, from 1; 0 without folds.
    """

    config: TrialConfig
    training_state: TrainingState
    epochs: Generator[EpochResult]
    fold: int = 0

    @property
    def phase(self) -> Phase:
        """The present phase, of several where layers learn one after the other."""
        return self.training_state.phase

    @property
    def step(self) -> TrainingStep:
        """Takes its steps."""
        return self.phase.step

    @property
    def schedule(self) -> Schedule:
        """Sets the rates before each of them."""
        return self.phase.schedule

    @property
    def model(self) -> nn.Module:
        """The network; it has the best epoch's weights once ``epochs`` has ended or is closed."""
        return self.training_state.best.network_of_best or self.phase.network

    @property
    def is_over(self) -> bool:
        """Whether no epoch follows the one that was yielded last; known before the next one is asked for."""
        return self.training_state.is_over

    @property
    def precision(self) -> AbstractContextManager[object]:
        """Context for forward passes."""
        return self.step.precision

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint needs to go on from here; see `pipeline.training.state.TrainingState.state_dict`.

        It holds right after an epoch was yielded, until the next one begins.
        """
        return self.training_state.state_dict()

    def prepared(self, images: LabeledImages) -> LabeledImages:
        """Returns images as the network takes them; see `pipeline.setup.images.prepared`."""
        return prepared(self.config.model, images)

    def evaluate(self, images: LabeledImages) -> tuple[float, float]:
        """Returns loss and accuracy on some images; see `pipeline.training.evaluation.evaluate`."""
        return evaluate(self.model, self.prepared(images), self.precision)


def start(
    config: TrialConfig,
    data: ImageData,
    *,
    measure_every: int | None = None,
    cache: FeatureCache | None = None,
    resume: Checkpoint | None = None,
    repetition: Repetition | None = None,
    metrics: Sequence[str] = (),
) -> Training:
    """Builds the model, optimizer and schedule of a configuration.

    A resumed training goes on with the numbers that it would have had, to the bit on the same machine with one thread.

    PyTorch's global generator is seeded: two trainings in one process must run one after the other.

    Args:
        config: What to train.
        data: Training and validation images, as `load_data` returns them.
        measure_every: Optimizer steps from one measurement of gradient flow to the next; None for none.
        cache: Where the output of frozen layers is kept; None to compute it in every epoch.
        resume: A checkpoint of this configuration, on the same data; its epochs are not yielded again.
        repetition: A training of this configuration whose phases are repeated; then the last epoch's weights come back,
            and not the best one's, and nothing stops early: for a training whose validation images say nothing, since
            it learns from them.
        metrics: What to measure after every epoch, besides accuracy, loss, and what the configuration monitors.

    Raises:
        DeviceError: The precision does not exist on the data's device.
        ModelError: The network cannot be built.
        DataError: The images do not suit it or a metric, or the cache cannot be read or written.
    """
    precision = use_precision(config.precision, data.train.labels.device)
    torch.manual_seed(config.seed)
    if data.train.has_numbers and not isinstance(config.augment, NoAugmentation):
        raise DataError(
            f"{config.augment.kind} changes images; the data are rows of {data.train.images.shape[1]:,} numbers. "
            "Set augment: none"
        )
    builder = PhaseBuilder(
        config, prepared_data(config.model, data), precision, measure_every, cache, lambda: data.fingerprint
    )
    stopping = config.early_stopping
    # Where each epoch is better than all before it, the last one is the best.
    min_delta = stopping.min_delta if repetition is None else -math.inf
    improvement = Improvement(
        maximize=direction(stopping.monitor) == "maximize",
        min_delta=min_delta,
        patience=stopping.patience if repetition is None else None,
    )
    phases = plan(builder) if repetition is None else repeated(builder, repetition)
    training_state = TrainingState(phases, improvement)
    if resume is not None:
        training_state.load_state_dict(resume.state)
    epochs = train(
        training_state,
        batch_size=config.batch_size,
        monitor=stopping.monitor,
        seed=config.seed,
        sampling=config.data.sampling,
        meters=_meters(config, metrics, data),
    )
    return Training(config, training_state, epochs)


def _meters(config: TrialConfig, metrics: Sequence[str], data: ImageData) -> Mapping[str, MetricMeter]:
    """Builds what measures the metrics that somebody asks for."""
    monitors = [config.early_stopping.monitor]
    if isinstance(config.schedule, Performance):
        monitors.append(config.schedule.monitor)
    return build_meters(measured_metrics([*metrics, *monitors]), data.class_names, data.train.labels.device)


def start_folds(
    config: TrialConfig,
    data: ImageData,
    *,
    measure_every: int | None = None,
    cache: FeatureCache | None = None,
    resume: Checkpoint | None = None,
    metrics: Sequence[str] = (),
) -> Iterator[Training]:
    """Starts a training for each fold of the data, one when the last is over; a single one where they have no folds.

    Each is what `start` returns for the configuration and the fold's data: all begin with the same weights.

    Args:
        config: What to train.
        data: The data, as `load_data` returns them.
        measure_every: See `start`.
        cache: See `start`.
        resume: A checkpoint of this configuration, on the same data; the trainings of earlier folds are left out.
        metrics: See `start`.

    Raises:
        DnntuneError: See `start`.
    """
    folds = range(1, len(data.folds) + 1) if data.folds else (0,)
    for fold in folds:
        if resume is not None and fold < resume.fold:
            continue
        checkpoint = resume if resume is not None and fold == resume.fold else None
        fold_data = data.fold(fold)
        # Nothing here keeps a training: it makes room for the next one.
        yield replace(
            start(config, fold_data, measure_every=measure_every, cache=cache, resume=checkpoint, metrics=metrics),
            fold=fold,
        )
