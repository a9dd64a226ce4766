"""What to do where a GPU's memory does not suffice: the same again, with fewer images at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from pipeline.training.generators import generator_states, set_generator_states

P = ParamSpec("P")
T = TypeVar("T")


class GpuMemoryError(Exception):
    """A trial does not fit into the GPU's memory, and cannot be made to without becoming another trial."""


def if_it_fits(device: torch.device, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Returns what a computation gives, or None if the device's memory does not suffice for it.

    Then PyTorch's generators are as they were before, and what the attempt held is free.

    Args:
        device: Where it runs.
        compute: The computation; it gives anything but None.
        args: Its arguments.
        kwargs: Its arguments by name.
    """
    before = generator_states(device)
    try:
        return compute(*args, **kwargs)
    except torch.OutOfMemoryError:
        pass
    # Not in the handler: the error's traceback holds all that the attempt has allocated.
    set_generator_states(before, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def half(size: int) -> int:
    """Returns half a number of images, rounded up: two such parts are enough."""
    return (size + 1) // 2


@dataclass
class Microbatches:
    """How many images pass through a network at once in a phase of its training.

    It is not that of the phases after it: what may be split in one need not be in another, in which more layers learn.

    Attributes:
        size: Images; None for a whole batch.
    """

    size: int | None = None

    def split(self, rows: Tensor) -> Sequence[Tensor]:
        """Splits a batch's rows, (batch,), into parts.

        A single leftover joins the part before it: batch normalization cannot train on one image.
        """
        if self.size is None or len(rows) <= self.size:
            return [rows]
        microbatches = list(torch.split(rows, self.size))
        if len(microbatches[-1]) == 1 < self.size:
            microbatches[-2:] = [torch.cat(microbatches[-2:])]
        return microbatches

    def halve(self, batch: int, *, reason_against: str | None) -> None:
        """Halves the parts, after those of a batch did not fit.

        Args:
            batch: Images in the batch.
            reason_against: Why smaller parts would make another trial of it; None if they would not.

        Raises:
            GpuMemoryError: They would, or the parts are of one image.
        """
        size = batch if self.size is None else min(self.size, batch)
        at_once = "" if size == batch else f", {size} at once,"
        what = f"a batch of {batch} images{at_once} does not fit into the GPU's memory"
        if size == 1:
            raise GpuMemoryError(
                f"{what}, and fewer at once there are not: take a smaller network or smaller images, or let fewer "
                "workers share the GPU"
            )
        if reason_against is not None:
            raise GpuMemoryError(
                f"{what}, and is not split, which would make another trial of it: {reason_against}. Set a smaller "
                f"batch_size, or say that it may be split: accumulation: {-(-batch // half(size))}"
            )
        self.size = half(size)
