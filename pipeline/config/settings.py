"""The settings of one trial: every knob, its unit, its range, and what its default means.

A search space has the shape of this configuration, so a new knob is one field here, or beside it in the file of its
block (`pipeline.config.data`, `loss`, `model`, `training`, `transfer`). None of them imports torch or Optuna: checking
a file is instant. Rules that span several settings are in `pipeline.config.rules`.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipeline.config.data import DataConfig
from pipeline.config.kinds import Block
from pipeline.config.loss import CrossEntropy, LossConfig
from pipeline.config.model import MlpConfig, ModelConfig
from pipeline.config.training import (
    AdamW,
    ClippingConfig,
    EarlyStopping,
    NoClipping,
    OneCycle,
    OptimizerConfig,
    ScheduleConfig,
)
from pipeline.config.transfer import (
    AugmentConfig,
    FeatureCacheConfig,
    NoAugmentation,
    NoTransfer,
    TransferConfig,
)


class TrialSettings(Block):
    """The settings of one training run; `pipeline.config.trial.TrialConfig` are those that obey the rules."""

    data: DataConfig
    """The images."""
    model: ModelConfig = MlpConfig()
    """The network. A block without a kind is an `mlp`."""
    transfer: TransferConfig = NoTransfer()
    """Which layers learn, and when; by default `frozen` for a backbone with pretrained weights, and `none` for any
    other network. A block without a kind is `unfreeze`."""
    augment: AugmentConfig = NoAugmentation()
    """Random changes of the training images, drawn anew in every epoch. A block without a kind is `custom`."""
    loss: LossConfig = CrossEntropy()
    """What is minimized. A block without a kind is `cross_entropy`. Validation always measures the plain cross-entropy
    (`valid_loss`), so that trials with different losses can be compared."""
    optimizer: OptimizerConfig = AdamW(lr=2e-3)
    """How the weights are updated."""
    schedule: ScheduleConfig = OneCycle()
    """How the learning rate changes, from optimizer step to optimizer step."""
    clip: ClippingConfig = NoClipping()
    """Gradient clipping."""
    max_norm: PositiveFloat | None = None
    """After each step, scale the incoming weights of every unit to at most this Euclidean norm; null: do not."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Validate and return an exponential moving average of the weights over the steps, with this decay (0.99 averages
    about 100 steps; the first steps are averaged evenly); null: the weights themselves."""
    batch_size: PositiveInt = 128
    """Images per optimizer step."""
    accumulation: PositiveInt = 1
    """Number of microbatches that a batch is split into, to save memory; their gradients are accumulated. Batch
    normalization then uses the statistics of each microbatch."""
    epochs: PositiveInt = 20
    """The largest number of passes over the training images."""
    early_stopping: EarlyStopping = EarlyStopping()
    """When to stop earlier."""
    feature_cache: FeatureCacheConfig = FeatureCacheConfig()
    """Whether and how to cache the output of frozen layers."""
    precision: Literal["float32", "tf32", "bfloat16", "auto"] = "float32"
    """float32; tf32: matrix products in TensorFloat-32 (NVIDIA GPUs); bfloat16: automatic mixed precision, if the
    hardware supports it; auto: bfloat16 if the hardware supports it, or else float32."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial weights, the order of the batches, and dropout."""
