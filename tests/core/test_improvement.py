"""What it means that a measure has stopped improving."""

import pytest

from pipeline.core.improvement import Improvement


@pytest.mark.parametrize(
    ("maximize", "min_delta", "values", "since"),
    [
        (False, 0.0, [5.0, 5.0, 4.0, 4.5], [0, 1, 0, 1]),
        (True, 0.0, [5.0, 5.0, 4.0, 5.5], [0, 1, 2, 0]),
        (False, 1.0, [5.0, 4.0, 3.9, 3.0], [0, 1, 0, 1]),
        (True, 0.1, [0.5, 0.59, 0.61, 0.7], [0, 1, 0, 1]),
        (False, 0.0, [float("nan"), 5.0, float("nan")], [1, 0, 1]),
    ],
)
def test_epochs_since_the_last_improvement(
    maximize: bool, min_delta: float, values: list[float], since: list[int]
) -> None:
    improvement = Improvement(maximize=maximize, min_delta=min_delta)
    seen = []
    for value in values:
        improved = improvement.improved(value)
        assert improved == (improvement.epochs_since == 0)
        seen.append(improvement.epochs_since)
    assert seen == since


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_ends_with_the_last_epoch_that_it_bears(patience: int) -> None:
    improvement = Improvement(maximize=False, patience=patience)
    stopped = []
    for value in [4.0, 3.0, *[3.0] * 6]:
        improvement.improved(value)
        stopped.append(improvement.has_stopped)
    assert stopped.index(True) == 1 + patience
    assert all(stopped[1 + patience :])


def test_endless_patience() -> None:
    improvement = Improvement(maximize=True)
    for _ in range(1000):
        improvement.improved(0.5)
    assert (improvement.epochs_since, improvement.has_stopped) == (999, False)


def test_an_epoch_that_does_not_count_is_still_one_to_improve_on() -> None:
    improvement = Improvement(maximize=True, patience=2)
    for value, counts in [(0.2, True), (0.1, True), (0.9, False), (0.5, False), (0.8, True)]:
        improvement.improved(value, counts=counts)
        assert not improvement.has_stopped
    assert not improvement.improved(0.9)
    assert improvement.has_stopped
