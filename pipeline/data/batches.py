"""The order in which a training sees its examples."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.data.image_data import Examples


def batches_per_epoch(num_examples: int, batch_size: int) -> int:
    """Returns the batches in an epoch: the last may be smaller, but a single leftover is left out.

    Batch normalization cannot train on one image; another one is left out in each epoch.
    """
    full, rest = divmod(num_examples, batch_size)
    return full + (rest > 1 or full == 0)


def epoch_batches(
    examples: Examples, batch_size: int, seed: int, *, epochs_done: int = 0
) -> Iterator[tuple[Tensor, ...]]:
    """Yields, epoch after epoch without end, the rows of its batches: every example once, in a new order.

    Args:
        examples: What is trained on.
        batch_size: Examples a batch; the last one may be smaller, see `batches_per_epoch`.
        seed: Of the orders.
        epochs_done: Epochs to begin after.
    """
    order = torch.Generator().manual_seed(seed)
    num_batches = batches_per_epoch(len(examples), batch_size)
    for _ in range(epochs_done):
        torch.randperm(len(examples), generator=order)
    while True:
        rows = torch.randperm(len(examples), generator=order).to(examples.labels.device)
        yield torch.split(rows, batch_size)[:num_batches]
