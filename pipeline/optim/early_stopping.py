"""Early stopping's memory: the best epoch's weights (Prechelt, 1998)."""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.state import changing_state


class BestWeights:
    """A copy of a network's weights and buffers at the best epoch, on the same device.

    A training may go through phases in which more of the network learns, and on to another network. Only what may have
    changed is copied: layers that have been frozen so far are as they were.
    """

    def __init__(self) -> None:
        self.network: nn.Module | None = None  # that of the present phase
        self.changing: dict[str, Tensor] = {}  # what has learned in it so far, by name
        self.network_of_best: nn.Module | None = None
        self.copy: dict[str, Tensor] = {}

    def follow(self, network: nn.Module) -> None:
        """Begins a phase in which the network's trainable layers change."""
        before = self.changing if network is self.network else {}
        self.network, self.changing = network, {**before, **changing_state(network)}
        if network is self.network_of_best:  # what begins to learn now was the same at the best epoch
            for name, tensor in self.changing.items():
                if name not in self.copy:
                    self.copy[name] = tensor.detach().clone()

    def keep(self) -> None:
        """Copies the network's present state."""
        if self.network is not self.network_of_best:
            self.network_of_best = self.network
            self.copy = {name: torch.empty_like(tensor) for name, tensor in self.changing.items()}
        for name, tensor in self.changing.items():
            self.copy[name].copy_(tensor.detach())

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the kept state back into its network; without one all stays as it is."""
        if self.network_of_best is not None:
            state = self.network_of_best.state_dict(keep_vars=True)
            for name, tensor in self.copy.items():
                state[name].copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        """Returns what may have changed in the present network, and the copy, by name; tensors are references."""
        present = {name: tensor.detach() for name, tensor in self.changing.items()}
        return {"present": present, "copy": self.copy}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any], network_of_best: nn.Module) -> None:
        """Goes on from what `state_dict` returned.

        Args:
            state: That.
            network_of_best: The network that the copy is of, as it was built; the present one, or an earlier one.
        """
        for name, tensor in self.changing.items():
            tensor.copy_(state["present"][name])
        own = network_of_best.state_dict()
        self.copy = {name: torch.empty_like(own[name]).copy_(tensor) for name, tensor in state["copy"].items()}
        self.network_of_best = network_of_best
        if network_of_best is not self.network:
            self.restore()
