"""Exponential moving average of weights: Polyak and Juditsky, 1992; as it is used for networks, Tan and Le, 2019."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class WeightAverage:
    """Averages weights over the steps of a training.

    Normalization's moving statistics are averages already, and are left as they are.

    Args:
        values: The weights, (values,): they change from step to step.
        decay: Share of the average that a step keeps.
    """

    def __init__(self, values: Tensor, decay: float) -> None:
        self.values, self.decay = values, decay
        self.average = values.clone()
        self.num_steps = 0

    def update(self) -> None:
        """Takes the weights after a step."""
        self.num_steps += 1
        # At first an even mean over all steps: the initial weights would else weigh in for long.
        decay = min(self.decay, (self.num_steps - 1) / self.num_steps)
        self.average.lerp_(self.values, 1.0 - decay)

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint needs; tensors are references."""
        return {"average": self.average, "num_steps": self.num_steps}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self.average.copy_(state["average"])
        self.num_steps = state["num_steps"]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average in the weights' place for a while."""
        weights = self.values.clone()
        self.values.copy_(self.average)
        try:
            yield
        finally:
            self.values.copy_(weights)
