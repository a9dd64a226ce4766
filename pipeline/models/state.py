"""What of a network's state may change in training, and what cannot."""

import hashlib
import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def frozen_modules(network: nn.Module) -> set[str]:
    """Returns the names of all modules that have parameters and train none; the network's own is empty."""
    named = list(network.named_parameters(remove_duplicate=False))
    trained = _owners(name for name, parameter in named if parameter.requires_grad)
    return _owners(name for name, _ in named) - trained


def keep_frozen_in_evaluation(network: nn.Module) -> None:
    """Puts each module into evaluation mode that has parameters and trains none; call it after ``network.train()``.

    Frozen batch normalization would otherwise go on to change its moving statistics, and dropout to drop.
    """
    frozen = frozen_modules(network)
    for name, module in network.named_modules():
        if name in frozen:
            module.eval()


def changing_state(network: nn.Module) -> dict[str, Tensor]:
    """Returns the trainable parameters, and the buffers of modules that are not wholly frozen, by name."""
    frozen = frozen_modules(network)
    return {
        name: tensor
        for name, tensor in network.state_dict(keep_vars=True).items()
        if (tensor.requires_grad if isinstance(tensor, nn.Parameter) else name.rpartition(".")[0] not in frozen)
    }


def moving_statistics(network: nn.Module) -> list[Tensor]:
    """Returns the buffers of real numbers, of modules that are not wholly frozen: normalization's mean and variance."""
    state = changing_state(network).values()
    return [tensor for tensor in state if not isinstance(tensor, nn.Parameter) and tensor.is_floating_point()]


def depends_on_batch(network: nn.Module) -> bool:
    """Returns whether an image's output depends on the other images of its batch, in the network's present mode.

    So it does in batch normalization, and in all that keeps moving statistics like it, in training mode.
    """
    return any(
        module.training and (isinstance(module, _BatchNorm) or getattr(module, "running_var", None) is not None)
        for module in network.modules()
    )


def frozen_fingerprint(network: nn.Module) -> str:
    """Returns the SHA-256 of the rest, with its names and shapes."""
    changing = changing_state(network)
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if name not in changing:
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _owners(names: Iterable[str]) -> set[str]:
    """Returns the names of all modules that parameters of these names are in, at any depth."""
    parts = (name.split(".")[:-1] for name in names)
    return {".".join(prefix) for path in parts for prefix in itertools.accumulate([[], *([p] for p in path)])}
