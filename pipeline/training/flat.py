"""A model's trainable parameters in one contiguous tensor: zeroing, clipping and the optimizer make few calls."""

import torch
from torch import Tensor, nn


class FlatParameters:
    """Moves a model's trainable parameters into one tensor, of which they become views; gradients likewise.

    For a small network, a call for each tensor costs as much as the arithmetic. The model works as before; its
    gradients must be zeroed through `gradient`, and never replaced.

    Args:
        model: The model, on its device; its trainable parameters are of one type.

    Attributes:
        gradient: All gradients, (values,): first those of `decayed`, then those of `undecayed`.
        decayed: All matrices and kernels, (values,), which weight decay acts on; None if there are none.
        undecayed: All biases and normalization parameters, (values,), which it does not; None if there are none.
        gradients_by_tensor: The gradient of each of the model's parameters, as views.
        weights: The matrices, (units, inputs), as views.
    """

    def __init__(self, model: nn.Module) -> None:
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.ndim > 1]
        undecayed = [parameter for parameter in trainable if parameter.ndim <= 1]
        ordered = [*decayed, *undecayed]
        values = torch.cat([parameter.detach().reshape(-1) for parameter in ordered] or [torch.empty(0)])
        self.gradient = torch.zeros_like(values)
        start = 0
        for parameter in ordered:
            stop = start + parameter.numel()
            parameter.data = values[start:stop].view_as(parameter)
            parameter.grad = self.gradient[start:stop].view_as(parameter)
            start = stop
        boundary = sum(parameter.numel() for parameter in decayed)
        self.decayed = self._part(values, 0, boundary)
        self.undecayed = self._part(values, boundary, len(values))
        self.gradients_by_tensor: list[Tensor] = [
            parameter.grad for parameter in trainable if parameter.grad is not None
        ]
        self.weights = [parameter.detach() for parameter in trainable if parameter.ndim == 2]

    def _part(self, values: Tensor, start: int, stop: int) -> nn.Parameter | None:
        if start == stop:
            return None
        part = nn.Parameter(values[start:stop])
        part.grad = self.gradient[start:stop]
        return part
