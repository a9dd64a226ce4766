"""The configuration of one trial: every knob, its unit, its range, and what its default means.

A search space has the shape of this configuration, so a new knob is one field here, or in `pipeline.config.model`,
`pipeline.config.training` or `pipeline.config.transfer` if it belongs to a block. None of them imports torch or Optuna:
checking a file is instant. Rules that span several fields are in `pipeline.config.rules.table`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationInfo, model_validator

from pipeline.config.model import BackboneConfig, MlpConfig, ModelConfig
from pipeline.config.training import (
    AdamW,
    Block,
    ClippingConfig,
    Fraction,
    Monitor,
    NoClipping,
    OneCycle,
    OptimizerConfig,
    Probability,
    ScheduleConfig,
)
from pipeline.config.transfer import (
    AugmentConfig,
    FeatureCacheConfig,
    NoAugmentation,
    NoTransfer,
    TransferConfig,
)


class DataConfig(Block):
    name: Literal["fashion_mnist", "mnist", "cifar10", "digits", "image_folder", "arrays"]
    """Which data set; the last two are your own and need `path`."""
    path: str | None = None
    """The folder (image_folder) or .npz file (arrays); the other data sets are found through --data-dir. A relative one
    counts from the folder of the file that says it; with --set, on standard input, or in a space that is named without
    its folder, from the current one."""
    image_size: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Height and width in pixels to which image_folder's images are resized; null: 64."""
    valid_fraction: Fraction = 0.1
    """Share of the training images held out for validation, the same share of every class. A source that brings its
    own validation part keeps that one."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split. The test part never depends on it."""
    max_train_images: PositiveInt | None = None
    """Train on at most this many images, the same share of every class; null: all. Validation is not reduced."""


class EarlyStopping(Block):
    """Training ends when the measure has stopped improving; the best epoch's weights always come back."""

    monitor: Monitor = "valid_accuracy"
    """The measure watched; it also decides which epoch is the best."""
    patience: PositiveInt | None = 8
    """Epochs without improvement after which training ends; null: never early."""
    min_delta: NonNegativeFloat = 0.0
    """An improvement is a change by more than this, in the measure's own unit."""


class TrialConfig(Block):
    """Everything that decides what one training run computes, but for the machine it runs on."""

    data: DataConfig
    """The images."""
    model: ModelConfig = MlpConfig()
    """The network. A block without a kind is a perceptron."""
    transfer: TransferConfig = NoTransfer()
    """Which layers learn when. Left out, `frozen` for a backbone with pretrained weights, and `none` for any other
    network. A block without a kind is `unfreeze`."""
    augment: AugmentConfig = NoAugmentation()
    """Random changes of the training images, drawn anew in every epoch. A block without a kind is `custom`."""
    optimizer: OptimizerConfig = AdamW(lr=2e-3)
    """How the weights are updated."""
    schedule: ScheduleConfig = OneCycle()
    """How the learning rate changes, set anew at every optimizer step."""
    clip: ClippingConfig = NoClipping()
    """What bounds the gradient."""
    max_norm: PositiveFloat | None = None
    """After each step, every unit's incoming weights are scaled back to at most this Euclidean norm; null: not."""
    label_smoothing: Probability = 0.0
    """Share of each label that is spread evenly over all classes in training: Szegedy et al., CVPR 2016."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """What is validated, kept and returned is an exponential moving average of the weights over the steps, with this
    decay (0.99 averages about 100 steps; the first steps are averaged evenly); null: the weights themselves."""
    batch_size: PositiveInt = 128
    """Images per optimizer step."""
    accumulation: PositiveInt = 1
    """Parts into which a batch is split on its way through the network, so that less memory is needed; their gradients
    are added up. Batch normalization then sees the parts."""
    epochs: PositiveInt = 20
    """Passes over the training images, at most."""
    early_stopping: EarlyStopping = EarlyStopping()
    """When to stop before that."""
    feature_cache: FeatureCacheConfig = FeatureCacheConfig()
    """Whether and how the output of frozen layers is kept."""
    precision: Literal["float32", "tf32", "bfloat16", "auto"] = "float32"
    """float32; tf32: matrix products in TensorFloat-32 (NVIDIA GPUs); bfloat16: automatic mixed
    precision, where the hardware has instructions for it; auto: bfloat16 there, and float32 elsewhere."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial weights, the batches' order and dropout."""

    @model_validator(mode="before")
    @classmethod
    def _transfer_follows_from_the_weights(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "transfer" not in fields and _is_pretrained(fields.get("model")):
            return {**fields, "transfer": {"kind": "frozen"}}
        return fields

    def plain(self) -> dict[str, Any]:
        """Returns all settings as plain values that YAML and JSON can hold, the kind of a block first."""
        plain: dict[str, Any] = _kind_first(self.model_dump(mode="json"))
        return plain

    def replaced(self, settings: Mapping[str, Any]) -> Self:
        """Returns this configuration with other settings.

        Args:
            settings: From paths (``model.activation``, or a block such as ``schedule``) to plain values.

        Raises:
            pydantic.ValidationError: The result breaks a rule.
        """
        plain = self.plain()
        for path, value in settings.items():
            *blocks, name = path.split(".")
            block = plain
            for key in blocks:
                block = block[key]
            block[name] = value
        return type(self).model_validate(plain)

    @model_validator(mode="after")
    def _obeys_the_rules(self, info: ValidationInfo) -> Self:
        from pipeline.config.rules.table import broken_rules  # the rules are about this class

        if info.context is not None and not info.context.get("prove", True):
            return self
        if broken := broken_rules(self):
            raise ValueError("; ".join(f"{path}: {message}" for path, message in broken))
        return self


def _is_pretrained(model: Any) -> bool:
    if isinstance(model, BackboneConfig):
        return model.pretrained is not False
    return isinstance(model, dict) and model.get("kind") == "backbone" and model.get("pretrained", True) is not False


def _kind_first(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _kind_first(value[name]) for name in sorted(value, key=lambda name: name != "kind")}
