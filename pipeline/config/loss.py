"""Settings of the loss: what a training minimizes. Validation measures the plain cross-entropy, whatever the loss."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from pipeline.config.kinds import ImpliedKind, KindBlock, KindOf, register_built_ins
from pipeline.config.training import Probability, tuple_from_list

Weights = Annotated[tuple[PositiveFloat, ...], tuple_from_list, Field(min_length=1)]


class LossBlock(KindBlock):
    group: ClassVar[str] = "loss"
    class_weights: Literal["none", "balanced"] | Weights = "none"
    """balanced: each class weighs the more the rarer it is among the images that are trained on, so that all classes
    weigh the same together (King and Zeng, 2001); or a list with a weight for each class, in the order of the class
    names. Weights are scaled so that their mean over the training images is 1."""


class CrossEntropy(LossBlock):
    """Minus the logarithm of the right class's probability."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Probability = 0.0
    """Share of each label that is spread evenly over all classes during training: Szegedy et al., CVPR 2016."""


class Focal(LossBlock):
    """Cross-entropy times (1 - p)^gamma, p being the right class's probability: images that are classified well weigh
    less. Lin et al., ICCV 2017, eq. (5); class_weights are its alpha.
    """

    kind: Literal["focal"] = "focal"
    gamma: NonNegativeFloat = 2.0
    """The exponent; 0 is cross-entropy."""


LossConfig = Annotated[LossBlock, KindOf("loss"), ImpliedKind("cross_entropy")]
register_built_ins("pipeline.optim.losses:LOSSES", CrossEntropy, Focal)


def wrong_number_of_weights(num_weights: int, num_classes: int) -> str:
    """Returns the message for a list of weights of the wrong length."""
    return (
        f"loss.class_weights: a list has one weight for each class; got {num_weights} weights for {num_classes} "
        "classes. Give one for each, in the order of the class names, or set class_weights: balanced"
    )
