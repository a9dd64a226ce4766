"""A model's trainable parameters in two contiguous tensors: clipping and the optimizer work on two, not on dozens."""

import torch
from torch import Tensor, nn


class FlatParameters:
    """Moves a model's trainable parameters into contiguous tensors, of which they become views; gradients likewise.

    For a small network, the calls for each tensor cost as much as the arithmetic. The model works as before; its
    gradients must be zeroed here, and never replaced.

    Args:
        model: The model, on its device; its trainable parameters are of one type.

    Attributes:
        decayed: All matrices and kernels, (values,), which weight decay acts on; None if there are none.
        undecayed: All biases and normalization parameters, (values,), which it does not; None if there are none.
        weights: The matrices, (units, inputs), as views.
    """

    def __init__(self, model: nn.Module) -> None:
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.trainable = trainable
        self.decayed = _flatten([parameter for parameter in trainable if parameter.ndim > 1])
        self.undecayed = _flatten([parameter for parameter in trainable if parameter.ndim <= 1])
        self.weights = [parameter.detach() for parameter in trainable if parameter.ndim == 2]

    @property
    def flat(self) -> list[nn.Parameter]:
        """The tensors that hold everything, one or two."""
        return [tensor for tensor in (self.decayed, self.undecayed) if tensor is not None]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of `flat`; the same tensors for ever."""
        return [_gradient(tensor) for tensor in self.flat]

    @property
    def gradients_by_tensor(self) -> list[Tensor]:
        """The gradient of each of the model's parameters, as views; the same tensors for ever."""
        return [_gradient(parameter) for parameter in self.trainable]


def _flatten(parameters: list[nn.Parameter]) -> nn.Parameter | None:
    if not parameters:
        return None
    flat = nn.Parameter(torch.cat([parameter.detach().reshape(-1) for parameter in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.data = flat.data[start:stop].view_as(parameter)
        parameter.grad = flat.grad[start:stop].view_as(parameter)
        start = stop
    return flat


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad
