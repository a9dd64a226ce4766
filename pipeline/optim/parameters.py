"""A model's trainable parameters in one contiguous tensor: zeroing, clipping and the optimizer make few calls."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that an optimizer treats alike.

    Attributes:
        values: All of them, (values,), with their gradient.
        decays: Whether weight decay acts on them: it does on matrices and kernels, not on biases and normalization.
        lr_factor: Their learning rate as a share of the configured one.
    """

    values: nn.Parameter
    decays: bool
    lr_factor: float


class FlatParameters:
    """Moves a model's trainable parameters into one tensor, of which they become views; gradients likewise.

    For a small network, a call for each tensor costs as much as the arithmetic. The model works as before; its
    gradients must be zeroed through `gradient`, and never replaced.

    Args:
        model: The model, on its device; its trainable parameters are of one type.
        lr_factors: From names of parameters to the share of the learning rate that they learn at, where it is not 1.

    Attributes:
        values: All of them, (values,), part after part.
        gradient: Their gradient, (values,).
        groups: What an optimizer treats alike, largest rate first.
        gradients_by_tensor: The gradient of each of the model's parameters, as views.
        weights: The matrices, (units, inputs), as views.
    """

    def __init__(self, model: nn.Module, lr_factors: Mapping[str, float] | None = None) -> None:
        factors = lr_factors or {}
        trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]

        def key(named: tuple[str, nn.Parameter]) -> tuple[float, bool]:
            name, parameter = named
            return -factors.get(name, 1.0), parameter.ndim <= 1

        ordered = sorted(trainable, key=key)
        some = ordered[0][1] if ordered else torch.empty(0)
        self.values = some.detach().new_empty(sum(parameter.numel() for _, parameter in ordered))
        self.gradient = torch.zeros_like(self.values)
        start = 0
        groups: list[ParameterGroup] = []
        for (factor, undecayed), members in itertools.groupby(ordered, key):
            begin = start
            for _, parameter in members:
                stop = start + parameter.numel()
                parameter.grad = _view(self.gradient[start:stop], parameter)
                parameter.data = _view(self.values[start:stop], parameter).copy_(parameter.detach())
                start = stop
            values = nn.Parameter(self.values[begin:start])
            values.grad = self.gradient[begin:start]
            groups.append(ParameterGroup(values, not undecayed, -factor))
        self.groups: Sequence[ParameterGroup] = tuple(groups)
        self.gradients_by_tensor: list[Tensor] = [
            parameter.grad for _, parameter in trainable if parameter.grad is not None
        ]
        self.weights = [parameter.detach() for _, parameter in trainable if parameter.ndim == 2]


def _view(values: Tensor, like: Tensor) -> Tensor:
    """Returns values (values,) in another tensor's shape and, so that kernels find what they are fast on, strides."""
    strides = torch.empty_like(like, device="meta").stride()
    return values.as_strided(like.shape, strides, values.storage_offset())
