"""What an epoch consists of: every image once, or every class equally often."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.config.data import Sampling
from pipeline.data.batches import SAMPLINGS, drawn_counts, epoch_batches
from pipeline.data.features import LabeledFeatures

# 100 examples: 83, 13 and 4 of the classes 0, 2 and 3, and none of class 1.
LABELS = torch.tensor([0] * 83 + [2] * 13 + [3] * 4)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]


def examples(labels: Tensor = LABELS) -> LabeledFeatures:
    rows = torch.arange(len(labels))
    return LabeledFeatures((rows[:, None].float(),), rows, labels)


def epochs(sampling: Sampling, count: int, *, seed: int = 0, epochs_done: int = 0) -> list[Tensor]:
    batches = epoch_batches(examples(), 10, seed, sampling=sampling, epochs_done=epochs_done)
    return [torch.cat(epoch) for epoch in itertools.islice(batches, count)]


def test_natural_is_every_example_once() -> None:
    for rows in epochs("natural", 3):
        assert rows.sort().values.tolist() == list(range(100))


def test_balanced_is_every_class_equally_often() -> None:
    for rows in epochs("balanced", 5):
        counts = LABELS[rows].bincount(minlength=4).tolist()
        assert counts[1] == 0
        assert sorted(counts[:1] + counts[2:]) == [33, 33, 34]
        assert (LABELS[rows[:50]] == 3).sum() > 5  # in any order


def test_balanced_repeats_no_image_before_all_others_of_its_class() -> None:
    (rows,) = epochs("balanced", 1)
    times = rows.bincount(minlength=100)
    for label, (low, high) in {0: (0, 1), 2: (2, 3), 3: (8, 9)}.items():
        assert low <= int(times[label == LABELS].min()) <= int(times[label == LABELS].max()) <= high
    seen = torch.cat(epochs("balanced", 20))
    assert len(seen.unique()) == 100  # what one epoch leaves out, others have


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_seed_decides_and_epochs_that_are_done_are_skipped(sampling: Sampling) -> None:
    first, second, third = epochs(sampling, 3, seed=7)
    assert not torch.equal(first, second)
    for again, before in zip(epochs(sampling, 2, seed=7, epochs_done=1), (second, third), strict=True):
        assert torch.equal(again, before)
    assert not torch.equal(first, epochs(sampling, 1, seed=8)[0])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_counts_of_an_epoch_are_known(sampling: Sampling) -> None:
    (rows,) = epochs(sampling, 1)
    counts = drawn_counts(LABELS, 5, sampling)
    torch.testing.assert_close(counts.double(), LABELS[rows].bincount(minlength=5).double(), atol=1.0, rtol=0.0)
    assert float(counts.sum()) == pytest.approx(100)


def test_where_classes_are_equal_balanced_is_every_example_once() -> None:
    even = replace(examples(), labels=torch.arange(100) % 4)
    rows = torch.cat(next(epoch_batches(even, 10, 0, sampling="balanced")))
    assert rows.sort().values.tolist() == list(range(100))
