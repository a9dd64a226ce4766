"""Settings of the training: optimizers, schedules and clipping, a class for each kind."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.config.kinds import Block, KindBlock, KindOf, register_built_ins
from pipeline.config.metrics import Monitor

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


def _tuple_from_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


tuple_from_list = BeforeValidator(_tuple_from_list)
Epochs = Annotated[tuple[PositiveFloat, ...], tuple_from_list]
Factors = Annotated[tuple[PositiveFloat, ...], tuple_from_list]


class OptimizerBlock(KindBlock):
    group: ClassVar[str] = "optimizer"
    lr: PositiveFloat = 1e-3
    """Learning rate, before the schedule."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; never applied to biases and normalization."""


class Sgd(OptimizerBlock):
    """Stochastic gradient descent; with momentum (Polyak, 1964) or Nesterov's."""

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.05
    """Learning rate, before the schedule."""
    momentum: Probability = 0.9
    """Momentum; 0: none."""
    nesterov: bool = False
    """Nesterov's accelerated gradient; needs momentum."""


class RmsProp(OptimizerBlock):
    """Tieleman and Hinton, 2012."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Probability = 0.9
    """Decay of the squared gradients' moving average (the lecture's and Keras's 0.9; PyTorch's own default is 0.99)."""
    momentum: Probability = 0.0
    """Momentum."""


class AdamBlock(OptimizerBlock):
    beta1: Probability = 0.9
    """Decay of the gradients' moving average."""
    beta2: Probability = 0.999
    """Decay of the squared gradients' moving average."""


class Adam(AdamBlock):
    """Kingma and Ba, ICLR 2015."""

    kind: Literal["adam"] = "adam"


class AdamW(AdamBlock):
    """Adam with decoupled weight decay: Loshchilov and Hutter, ICLR 2019."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegativeFloat = 0.01
    """Weight decay per step, times the learning rate; never applied to biases and normalization."""


class NAdam(AdamBlock):
    """Adam with Nesterov momentum: Dozat, 2016."""

    kind: Literal["nadam"] = "nadam"


class ScheduleBlock(KindBlock):
    group: ClassVar[str] = "schedule"
    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs (fractions allowed) in which the rate first rises linearly to `lr`; the schedule starts after them."""


class Constant(ScheduleBlock):
    kind: Literal["constant"] = "constant"


class Power(ScheduleBlock):
    """lr / (1 + t/s)^c, eq. (1)."""

    kind: Literal["power"] = "power"
    step_epochs: PositiveFloat = 5.0
    """s in epochs: with power 1 the rate is lr/2 after s, lr/3 after 2s, lr/4 after 3s."""
    power: PositiveFloat = 1.0
    """The exponent c."""


class Exponential(ScheduleBlock):
    """lr * 0.1^(t/s), eq. (3)."""

    kind: Literal["exponential"] = "exponential"
    step_epochs: PositiveFloat = 20.0
    """s in epochs: the rate falls to a tenth every s."""


class Performance(ScheduleBlock):
    """Multiplies the rate by `factor` whenever the monitored metric has stopped improving."""

    kind: Literal["performance"] = "performance"
    monitor: Monitor = "valid_loss"
    """The metric to monitor; docs/imbalance.md lists all."""
    factor: Fraction = 0.5
    """Factor by which the rate is multiplied."""
    patience: PositiveInt = 3
    """Epochs without improvement after which the rate falls (as in Keras; PyTorch's fires one epoch later)."""
    min_delta: NonNegativeFloat = 1e-4
    """The smallest change that counts as an improvement, in the unit of the metric."""
    cooldown: Annotated[int, Field(ge=0)] = 0
    """Epochs after a reduction that do not count as epochs without improvement (as in PyTorch; in Keras one fewer)."""
    min_factor: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """The rate never falls below lr times this."""


class Piecewise(ScheduleBlock):
    """A constant rate between boundaries."""

    kind: Literal["piecewise"] = "piecewise"
    boundaries: Epochs = (10.0, 15.0)
    """Epochs at which the rate changes, ascending."""
    factors: Factors = (0.1, 0.01)
    """Factor of lr after each boundary; 1 before the first."""


class Cosine(ScheduleBlock):
    """Half a cosine from lr to lr * final_factor over the whole training: Loshchilov and Hutter, ICLR 2017."""

    kind: Literal["cosine"] = "cosine"
    final_factor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The last rate, as a share of lr."""


class OneCycle(ScheduleBlock):
    """Smith, 2018: linear from lr/div up to lr, down again, and at last on to lr/div/final_div. Where it rises for
    fewer than 50 steps, one of them has the rate lr; in longer trainings that may lie between two, which miss it by a
    hundredth at most.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    rise_fraction: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.45
    """Share of the steps that the rate rises, and then again that it falls; the rest is the final descent."""
    div: Annotated[float, Field(gt=1.0)] = 10.0
    """The first rate is lr divided by this."""
    final_div: Annotated[float, Field(gt=1.0)] = 1000.0
    """The last rate is the first one divided by this."""


class NoClipping(Block):
    kind: Literal["none"] = "none"


class ClippingBlock(Block):
    threshold: PositiveFloat = 1.0
    """The bound on each component (value) or on the Euclidean norm."""


class ClipValue(ClippingBlock):
    """Each component of the gradient is cut to [-threshold, threshold]; this may turn the gradient."""

    kind: Literal["value"] = "value"


class ClipNorm(ClippingBlock):
    """The whole gradient is scaled so that its norm is at most the threshold: Pascanu et al., ICML 2013."""

    kind: Literal["norm"] = "norm"


class ClipTensorNorm(ClippingBlock):
    """Each tensor's gradient is scaled on its own (Keras's clipnorm)."""

    kind: Literal["tensor_norm"] = "tensor_norm"


class EarlyStopping(Block):
    """Ends the training when the monitored metric stops improving; the weights of the best epoch always come back."""

    monitor: Monitor = "valid_accuracy"
    """The metric to monitor; it also decides which epoch is the best. docs/imbalance.md lists all."""
    patience: PositiveInt | None = 8
    """Epochs without improvement after which training ends; null: never."""
    min_delta: NonNegativeFloat = 0.0
    """The smallest change that counts as an improvement, in the unit of the metric."""


OptimizerConfig = Annotated[OptimizerBlock, KindOf("optimizer")]
ScheduleConfig = Annotated[ScheduleBlock, KindOf("schedule")]
ClippingConfig = Annotated[NoClipping | ClipValue | ClipNorm | ClipTensorNorm, Field(discriminator="kind")]

register_built_ins("pipeline.optim.optimizers:OPTIMIZERS", Sgd, RmsProp, Adam, AdamW, NAdam)
register_built_ins(
    "pipeline.optim.schedules:SCHEDULES", Constant, Power, Exponential, Performance, Piecewise, Cosine, OneCycle
)
