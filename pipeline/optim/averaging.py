"""Exponential moving average of weights: Polyak and Juditsky, 1992; as it is used for networks, Tan and Le, 2019."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    """Averages weights, and normalization's moving statistics with them, over the steps of a training.

    Statistics that belong to the present weights would not suit the average: at a high rate, where the weights jump to
    and fro, such a network classifies far worse than either.

    Args:
        values: The weights, (values,): they change from step to step.
        decay: Share of the average that a step keeps.
        statistics: Buffers that change with them.
    """

    def __init__(self, values: Tensor, decay: float, statistics: Sequence[Tensor] = ()) -> None:
        self.present, self.decay = [values, *statistics], decay
        self.averages = [tensor.clone() for tensor in self.present]
        self.num_steps = 0

    def update(self) -> None:
        """Takes the weights after a step."""
        self.num_steps += 1
        # At first an even mean over all steps: the initial weights would else weigh in for long.
        decay = min(self.decay, (self.num_steps - 1) / self.num_steps)
        torch._foreach_lerp_(self.averages, self.present, 1.0 - decay)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint needs; tensors are references."""
        return {"averages": self.averages, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        torch._foreach_copy_(self.averages, state["averages"])
        self.num_steps = state["num_steps"]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average in the weights' place for a while."""
        present = [tensor.clone() for tensor in self.present]
        torch._foreach_copy_(self.present, self.averages)
        try:
            yield
        finally:
            torch._foreach_copy_(self.present, present)
