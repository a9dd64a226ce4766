"""What it means that a measure has stopped improving: one meaning of patience, warm-up and cooldown for all."""

from typing import Any


class Improvement:
    """Watches a measure and counts the epochs in a row without an improvement on the best so far.

    Early stopping, the performance schedule and the pruners' patience count by this class.

    Args:
        maximize: Whether larger is better.
        min_delta: An improvement is a change by more than this.
        patience: Epochs without improvement that are borne: the ``patience``-th is the last; None for all.
    """

    def __init__(self, *, maximize: bool, min_delta: float = 0.0, patience: int | None = None) -> None:
        self.sign = -1.0 if maximize else 1.0
        self.min_delta, self.patience = min_delta, patience
        self.best = float("inf")
        self.epochs_since = 0

    def improved(self, value: float, *, counts: bool = True) -> bool:
        """Takes the next epoch's value; returns whether it is an improvement.

        Args:
            value: The measure.
            counts: Whether the epoch counts where it is none: one of a warm-up or a cooldown does not.
        """
        signed = self.sign * value
        if signed < self.best - self.min_delta:
            self.best, self.epochs_since = signed, 0
            return True
        self.epochs_since = self.epochs_since + 1 if counts else 0
        return False

    @property
    def has_stopped(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self.epochs_since >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint."""
        return {"best": self.best, "epochs_since": self.epochs_since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.best, self.epochs_since = state["best"], state["epochs_since"]
