"""The order in which a training sees its examples."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pipeline.config.data import Sampling
from pipeline.data.image_data import Examples

# From a generator to the rows of an epoch, (examples,), on the processor.
Draw = Callable[[torch.Generator], Tensor]


def batches_per_epoch(num_examples: int, batch_size: int) -> int:
    """Returns the batches in an epoch: the last may be smaller, but a single leftover is left out.

    Batch normalization cannot train on one image; another one is left out in each epoch.
    """
    full, rest = divmod(num_examples, batch_size)
    return full + (rest > 1 or full == 0)


def epoch_batches(
    examples: Examples, batch_size: int, seed: int, *, sampling: Sampling = "natural", epochs_done: int = 0
) -> Iterator[tuple[Tensor, ...]]:
    """Yields, epoch after epoch without end, the rows of its batches, in a new order.

    Args:
        examples: What is trained on.
        batch_size: Examples a batch; the last one may be smaller, see `batches_per_epoch`.
        seed: Of the orders.
        sampling: What an epoch consists of, see `SAMPLINGS`.
        epochs_done: Epochs to begin after.
    """
    order = torch.Generator().manual_seed(seed)
    num_batches = batches_per_epoch(len(examples), batch_size)
    draw = SAMPLINGS[sampling](examples.labels)
    for _ in range(epochs_done):
        draw(order)
    while True:
        rows = draw(order).to(examples.labels.device)
        yield torch.split(rows, batch_size)[:num_batches]


def drawn_counts(labels: Tensor, num_classes: int, sampling: Sampling) -> Tensor:
    """Returns how many examples of each class an epoch trains on, (classes,); those of balanced classes differ by 1.

    Args:
        labels: (examples,), int64.
        num_classes: Of the labels.
        sampling: What an epoch consists of.
    """
    counts = labels.bincount(minlength=num_classes)
    return counts if sampling == "natural" else (counts > 0) * (len(labels) / (counts > 0).sum())


def _natural(labels: Tensor) -> Draw:
    """Every example once."""
    return lambda order: torch.randperm(len(labels), generator=order)


def _balanced(labels: Tensor) -> Draw:
    """As many examples, every class equally often: which of them have one more is drawn, if it does not come out even.

    Of a class's examples, none is drawn again before all have been.
    """
    labels = labels.cpu()
    classes = [rows for label in range(int(labels.max()) + 1) if len(rows := torch.nonzero(labels == label).squeeze(1))]
    share, rest = divmod(len(labels), len(classes))

    def draw(order: torch.Generator) -> Tensor:
        have_one_more = torch.randperm(len(classes), generator=order) < rest
        rows = []
        for examples, one_more in zip(classes, have_one_more.tolist(), strict=True):
            whole, part = divmod(share + one_more, len(examples))
            rows += [examples.repeat(whole), examples[torch.randperm(len(examples), generator=order)[:part]]]
        drawn = torch.cat(rows)
        return drawn[torch.randperm(len(drawn), generator=order)]

    return draw


# A row takes the labels, (examples,), and returns what draws an epoch.
SAMPLINGS: dict[Sampling, Callable[[Tensor], Draw]] = {"natural": _natural, "balanced": _balanced}
