"""The configuration of one trial: every knob, its unit, its range, and what its default means.

A search space has the shape of this configuration, so a new knob is one field here, or in
`pipeline.training_config` if it belongs to a kind of optimizer, schedule or clipping. Neither imports torch or Optuna:
checking a file is instant. Rules that span several fields are in `pipeline.rules`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationInfo, model_validator

from pipeline.training_config import (
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
    tuple_from_list,
)

Widths = Annotated[tuple[PositiveInt, ...], tuple_from_list, Field(min_length=1)]


class DataConfig(Block):
    name: Literal["fashion_mnist", "mnist", "cifar10", "digits", "image_folder", "arrays"]
    """Which data set; the last two are your own and need `path`."""
    path: str | None = None
    """The folder (image_folder) or .npz file (arrays); the other data sets are found through --data-dir."""
    image_size: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Height and width in pixels to which image_folder's images are resized; null: 64."""
    valid_fraction: Fraction = 0.1
    """Share of the training images held out for validation, the same share of every class. A source that brings its
    own validation part keeps that one."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split. The test part never depends on it."""
    max_train_images: PositiveInt | None = None
    """Train on at most this many images, the same share of every class; null: all. Validation is not reduced."""


class NoDropout(Block):
    kind: Literal["none"] = "none"


class Dropout(Block):
    """Srivastava et al., JMLR 2014."""

    kind: Literal["dropout"] = "dropout"
    rate: Probability = 0.2
    """Probability with which a hidden unit is dropped; 0.1 to 0.5 is usual."""
    last_layers: PositiveInt = 1
    """Dropout acts after this many of the last hidden layers; more than there are means all of them. Never the
    output."""
    input_rate: Probability = 0.0
    """Probability with which an input value is dropped."""
    variant: Literal["auto", "standard", "alpha"] = "auto"
    """alpha: alpha dropout (Klambauer et al., NeurIPS 2017), which keeps SELU's mean and variance, for SELU only.
    auto: alpha with SELU, standard with any other activation."""
    scaling: Literal["train", "test"] = "train"
    """train: what is kept is divided by 1 - rate in training (inverted dropout); test: everything is multiplied by
    1 - rate at test time (the lecture's weight scaling). Equal in expectation; alpha dropout has its own."""


# What suits each activation, as the lecture's table has it; He's for all that are not here.
SUITED_INITIALIZATION = {"tanh": "glorot", "sigmoid": "glorot", "selu": "lecun"}


def resolve_initialization(name: str, activation: str) -> str:
    """Returns an initialization's name, ``auto`` replaced by the one that suits the activation."""
    return SUITED_INITIALIZATION.get(activation, "he") if name == "auto" else name


class MlpConfig(Block):
    """A multilayer perceptron: linear, batch normalization, activation, dropout in each hidden layer; linear output."""

    kind: Literal["mlp"] = "mlp"
    hidden_layers: PositiveInt = 3
    """Number of hidden layers."""
    width: PositiveInt | Widths = 100
    """Units in every hidden layer, or a list with the units of each (hidden_layers then follows from it)."""
    activation: Literal["relu", "leaky_relu", "elu", "selu", "tanh", "sigmoid", "prelu", "gelu", "silu"] = "relu"
    """Activation of the hidden layers."""
    negative_slope: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
    """leaky_relu: the slope for negative inputs; prelu: the slope it starts from."""
    elu_alpha: PositiveFloat = 1.0
    """elu: minus the value it approaches for large negative inputs."""
    initialization: Literal["auto", "he", "glorot", "lecun", "torch"] = "auto"
    """Weights of the hidden layers: he N(0, 2/fan_in), glorot N(0, 1/fan_avg), lecun N(0, 1/fan_in), torch: PyTorch's
    default. auto: glorot for tanh and sigmoid, lecun for selu, he for the others. Biases start at zero."""
    initialization_gain: PositiveFloat | None = None
    """Standard deviation of the hidden layers' initial weights times sqrt(fan_in) (glorot: sqrt(fan_avg)); null: the
    initialization's own (he: sqrt 2 for ReLU; glorot, lecun: 1)."""
    batch_norm: Literal["none", "before", "after"] = "before"
    """Batch normalization of each hidden layer, before or after its activation (Ioffe and Szegedy, ICML 2015)."""
    input_batch_norm: bool = False
    """Batch normalization of the input."""
    batch_norm_alpha: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Weight of the newest batch in the moving statistics, alpha of eq. (19): PyTorch's momentum, 1 - Keras's."""
    batch_norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance before the square root."""
    dropout: NoDropout | Dropout = NoDropout()
    """Dropout of hidden units and inputs; none by default."""

    @model_validator(mode="before")
    @classmethod
    def _hidden_layers_follow_from_a_list(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and isinstance(widths := fields.get("width"), list | tuple):
            fields = {"hidden_layers": len(widths), **fields}
        return fields

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, first to last."""
        return (self.width,) * self.hidden_layers if isinstance(self.width, int) else self.width

    @property
    def resolved_initialization(self) -> str:
        """The initialization, never auto."""
        return resolve_initialization(self.initialization, self.activation)

    @property
    def drops(self) -> bool:
        """Whether any unit or input may be dropped."""
        return isinstance(self.dropout, Dropout) and max(self.dropout.rate, self.dropout.input_rate) > 0.0

    @property
    def uses_alpha_dropout(self) -> bool:
        """Whether it drops units, by alpha dropout."""
        if isinstance(self.dropout, NoDropout):
            return False
        return self.dropout.variant == "alpha" or (self.dropout.variant == "auto" and self.activation == "selu")


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
    model: MlpConfig = MlpConfig()
    """The network."""
    optimizer: OptimizerConfig = AdamW(lr=2e-3)
    """How the weights are updated."""
    schedule: ScheduleConfig = OneCycle()
    """How the learning rate changes, set anew at every optimizer step."""
    clip: ClippingConfig = NoClipping()
    """What bounds the gradient."""
    max_norm: PositiveFloat | None = None
    """After each step, every unit's incoming weights are scaled back to at most this Euclidean norm; null: not."""
    batch_size: PositiveInt = 128
    """Images per optimizer step."""
    epochs: PositiveInt = 20
    """Passes over the training images, at most."""
    early_stopping: EarlyStopping = EarlyStopping()
    """When to stop before that."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """float32; tf32: matrix products in TensorFloat-32 (NVIDIA GPUs); bfloat16: automatic mixed precision."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial weights, the batches' order and dropout."""

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
        from pipeline.rules import broken_rules  # the rules are about this class

        if info.context is not None and not info.context.get("prove", True):
            return self
        if broken := broken_rules(self):
            raise ValueError("; ".join(f"{path}: {message}" for path, message in broken))
        return self


def _kind_first(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _kind_first(value[name]) for name in sorted(value, key=lambda name: name != "kind")}
