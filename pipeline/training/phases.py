"""The phases of a training: which layers learn, on what, for how many epochs, each with a schedule of its own.

A network that is trained from scratch has one phase. A backbone may have several, and where its lower layers are
frozen, what they give comes from the cache: the network that is trained is then only what is above them.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from pipeline.config.model import BackboneConfig, ModelBlock
from pipeline.config.trial import TrialConfig
from pipeline.data.augmentation import Augmentation, build_augmentation
from pipeline.data.batches import batches_per_epoch, drawn_counts
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.image_data import Examples, ImageData
from pipeline.models.build import build_model
from pipeline.models.state import moving_statistics
from pipeline.optim.averaging import WeightAverage
from pipeline.optim.clipping import build_clip
from pipeline.optim.losses import build_loss
from pipeline.optim.optimizers import build_optimizer
from pipeline.optim.parameters import FlatParameters
from pipeline.optim.schedules import Schedule, build_schedule
from pipeline.training.gradient_flow import GradientFlow
from pipeline.training.memory import Microbatches
from pipeline.training.step import TrainingStep

if TYPE_CHECKING:
    from pipeline.models.backbones.backbone import Backbone


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        name: What learns in it, in a word or two; empty for the whole of a network without a backbone.
        network: The whole network.
        step: Takes steps, on what learns of the network and on its examples.
        valid: What is validated on, as the step's model takes it.
        schedule: Sets the rates.
        epochs: Epochs at most.
        computed: Images that had to pass through the frozen layers before the phase, to fill the cache.
        is_cached: Whether the frozen layers' output is taken from there.
    """

    name: str
    network: nn.Module
    step: TrainingStep
    valid: Examples
    schedule: Schedule
    epochs: int
    computed: int = 0
    is_cached: bool = False

    def images_through_backbone(self, *, is_first_epoch: bool) -> tuple[int, int]:
        """Returns, of an epoch, how many images passed through the backbone, and how many the cache spared that."""
        if not self.name:
            return 0, 0
        images = len(self.step.examples) + len(self.valid)
        filled = self.computed if is_first_epoch else 0
        return (filled, images) if self.is_cached else (filled + images, 0)


@dataclass(frozen=True)
class _Trained:
    """What learns of a network, and what it learns from; the rest as in `Phase`."""

    model: nn.Module
    train: Examples
    valid: Examples
    computed: int = 0
    is_cached: bool = False


@dataclass(frozen=True)
class PhaseBuilder:
    """Builds the phases of a configuration's training.

    Attributes:
        config: The configuration.
        data: Its images, prepared for its network.
        precision: Context for forward passes.
        measure_every: Optimizer steps from one measurement of gradient flow to the next; None for none.
        cache: Where the output of frozen layers is kept; None to compute it in every epoch.
        fingerprint: Returns what tells these images from others, for the cache.
    """

    config: TrialConfig
    data: ImageData
    precision: AbstractContextManager[object]
    measure_every: int | None
    cache: FeatureCache | None
    fingerprint: Callable[[], str]
    augmentation: Augmentation | None = field(init=False)

    def __post_init__(self) -> None:
        augmentation = build_augmentation(self.config.augment, self.data.num_classes)
        object.__setattr__(self, "augmentation", augmentation)

    def network(self, model: ModelBlock) -> nn.Module:
        """Builds a network on the images' device.

        Raises:
            ModelError: It cannot be built.
        """
        if isinstance(model, BackboneConfig):
            return self.backbone(model)
        network = build_model(model, image_shape=self.data.image_shape, num_classes=self.data.num_classes)
        return network.to(self.data.train.labels.device)

    def backbone(self, model: BackboneConfig, *, is_shared: bool = False) -> "Backbone":
        """Builds a backbone on the images' device; its body may be shared if it will never be trained.

        Raises:
            ModelError: It cannot be built.
        """
        from pipeline.models.backbones.backbone import build_backbone

        return build_backbone(
            model,
            channels=self.data.train.mean.shape[1],
            num_classes=self.data.num_classes,
            device=self.data.train.labels.device,
            is_shared=is_shared,
        )

    def everything(self, network: nn.Module) -> Phase:
        """Returns the one phase in which the whole network learns at one rate."""
        # A pretrained body is a copy of one that an earlier training of this process may have frozen.
        network.requires_grad_(True)
        name = "all" if isinstance(self.config.model, BackboneConfig) else ""
        return self._phase(name, network, self._uncached(network), epochs=self.config.epochs)

    def top(
        self,
        network: "Backbone",
        top_stages: int | None,
        *,
        name: str,
        epochs: int,
        lr_factor: float = 1.0,
        layer_decay: float = 1.0,
    ) -> Phase:
        """Returns a phase in which a backbone's head and top stages learn.

        Args:
            network: The backbone.
            top_stages: How many stages; 0 for the head alone, None for the whole body.
            name: The phase's.
            epochs: Epochs at most.
            lr_factor: Learning rate of the top stage, as a share of the head's.
            layer_decay: What it is multiplied with for each stage further down.

        Raises:
            ModelError: The backbone has fewer stages.
        """
        from pipeline.models.backbones.backbone import rate_factors, train_top_stages

        train_top_stages(network, top_stages)
        factors = rate_factors(network, lr_factor=lr_factor, layer_decay=layer_decay) if top_stages != 0 else {}
        is_anything_frozen = not all(parameter.requires_grad for parameter in network.parameters())
        trained = self._cached(network, top_stages) if top_stages is not None and is_anything_frozen else None
        return self._phase(name, network, trained or self._uncached(network), epochs=epochs, factors=factors)

    def _uncached(self, network: nn.Module) -> _Trained:
        return _Trained(network, self.data.train, self.data.valid)

    def _cached(self, network: "Backbone", top_stages: int) -> _Trained | None:
        """Returns what learns of a backbone, on what its frozen layers give; None if that cannot be cached."""
        settings = self.config.feature_cache
        if self.cache is None or not settings.enabled or self.data.train.rows is None:
            return None
        if self.augmentation is not None and settings.views is None:
            return None  # every image is another one each time
        from pipeline.models.backbones.backbone import cut
        from pipeline.models.backbones.cut import CannotSplitError
        from pipeline.training.frozen import cached_features

        model = self.config.model
        assert isinstance(model, BackboneConfig)
        try:
            with self.precision:
                halves = cut(network, top_stages, self.data.train.slice(0, 2)[0])
        except CannotSplitError as error:
            self.cache.notify(
                f"the feature cache is not used: {model.name} cannot be cut below its top stages: {error}"
            )
            return None
        features = cached_features(
            halves.below,
            halves.shape,
            self.data,
            cache=self.cache,
            settings=settings,
            augmentation=self.augmentation,
            augmented=self.config.augment.model_dump(),
            described={
                "model": model.name,
                "pretrained": model.pretrained,
                "trained_stages": top_stages,
                "weights": halves.fingerprint,
                "images": self.fingerprint(),
                "precision": self.config.precision,
            },
            precision=self.precision,
        )
        if features is None:
            return None
        return _Trained(halves.above, features.train, features.valid, features.computed, is_cached=True)

    def _phase(
        self,
        name: str,
        network: nn.Module,
        trained: _Trained,
        *,
        epochs: int,
        factors: dict[str, float] | None = None,
    ) -> Phase:
        config = self.config
        parameters = FlatParameters(network, factors)
        optimizer = build_optimizer(config.optimizer, parameters)
        schedule = build_schedule(
            config.schedule,
            optimizer,
            steps_per_epoch=batches_per_epoch(len(trained.train), config.batch_size),
            epochs=epochs,
        )
        step = TrainingStep(
            trained.model,
            trained.train,
            parameters=parameters,
            optimizer=optimizer,
            loss=build_loss(
                config.loss, drawn_counts(trained.train.labels, self.data.num_classes, config.data.sampling)
            ),
            clip=build_clip(config.clip, parameters),
            max_norm=config.max_norm,
            precision=self.precision,
            flow=None if self.measure_every is None else GradientFlow(trained.model, self.measure_every),
            augmentation=None if trained.is_cached else self.augmentation,
            microbatches=Microbatches(
                None if config.accumulation == 1 else math.ceil(config.batch_size / config.accumulation)
            ),
            average=None if config.ema_decay is None else self._average(network, parameters, config.ema_decay),
        )
        return Phase(name, network, step, trained.valid, schedule, epochs, trained.computed, trained.is_cached)

    def _average(self, network: nn.Module, parameters: FlatParameters, decay: float) -> WeightAverage:
        return WeightAverage(parameters.values, decay, moving_statistics(network))
