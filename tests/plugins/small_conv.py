from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassSpecificity

from pipeline.plugins.contract import LossBlock, ModelBlock, metric, register


class SmallConv(ModelBlock):
    """Two convolutions, each followed by ReLU and pooling, and a linear classifier."""

    kind: Literal["small_conv"] = "small_conv"
    filters: Annotated[int, Field(ge=1, le=512)] = 16
    """Filters of the first convolution; the second has twice as many."""
    kernel: Literal[3, 5] = 3
    """Height and width of the filters."""


@register(SmallConv)
def small_conv(block: SmallConv, input_shape: tuple[int, int, int], num_outputs: int) -> nn.Module:
    sizes = (input_shape[0], block.filters), (block.filters, 2 * block.filters)
    stages = [[nn.Conv2d(*size, block.kernel, padding="same"), nn.ReLU(), nn.MaxPool2d(2)] for size in sizes]
    return nn.Sequential(*stages[0], *stages[1], nn.Flatten(), nn.LazyLinear(num_outputs))


class OwnFocal(LossBlock):
    """Cross-entropy times (1 - p)^gamma: Lin et al., ICCV 2017."""

    kind: Literal["own_focal"] = "own_focal"
    gamma: NonNegativeFloat = 2.0
    """The exponent; 0 is cross-entropy."""


@register(OwnFocal)
def own_focal(block: OwnFocal, class_weights: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        each = functional.cross_entropy(logits, targets, class_weights, reduction="none")
        return ((1 - (-each).exp()) ** block.gamma * each).mean()

    return loss


@metric("valid_specificity", direction="maximize", description="mean over classes of TN / (TN + FP)")
def specificity(class_names: Sequence[str]) -> MulticlassSpecificity:
    return MulticlassSpecificity(len(class_names))
