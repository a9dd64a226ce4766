"""A network's tensors as a file."""

from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor, nn


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Returns all parameters and buffers by name, on the processor, none of them sharing memory with the network."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}


def tensor_bytes(model: nn.Module | Mapping[str, Tensor]) -> bytes:
    """Returns a safetensors file's bytes: of a network, or of tensors by name."""
    return save(tensors_of(model) if isinstance(model, nn.Module) else dict(model))
