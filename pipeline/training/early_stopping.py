"""Early stopping, and the memory of the best epoch (Prechelt, 1998)."""

from torch import Tensor, nn


class Improvement:
    """Watches a measure and counts the epochs since it last improved.

    Args:
        maximize: Whether larger is better.
        min_delta: An improvement is a change by more than this.
    """

    def __init__(self, *, maximize: bool, min_delta: float = 0.0) -> None:
        self.sign = -1.0 if maximize else 1.0
        self.min_delta = min_delta
        self.best = float("inf")
        self.epochs_since = 0

    def improved(self, value: float) -> bool:
        """Takes the next epoch's value; returns whether it is an improvement."""
        signed = self.sign * value
        if signed < self.best - self.min_delta:
            self.best, self.epochs_since = signed, 0
            return True
        self.epochs_since += 1
        return False


class BestWeights:
    """A copy of a module's weights and buffers at its best epoch, on the same device."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.copy: dict[str, Tensor] = {}

    def keep(self) -> None:
        """Copies the module's present state."""
        state = self.model.state_dict()
        if not self.copy:
            self.copy = {name: tensor.clone() for name, tensor in state.items()}
        for name, tensor in state.items():
            self.copy[name].copy_(tensor)

    def restore(self) -> None:
        """Puts the kept state back; without one the module stays as it is."""
        if self.copy:
            self.model.load_state_dict(self.copy)
