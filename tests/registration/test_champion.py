"""Whether a challenger is shown to be better: decisions on made-up models."""

import math
import random

import pytest

from pipeline.evaluation.intervals import Z95, paired_interval
from pipeline.registration.champion import (
    MIN_DISAGREEMENTS,
    Comparison,
    Interface,
    decide,
    first_champion,
    incomparable,
)


def compare(*, gained: int, lost: int, both: int, neither: int = 0) -> Comparison:
    """Compares two models of which one or the other, both or neither are right about so many images."""
    pairs = [(False, True)] * gained + [(True, False)] * lost + [(True, True)] * both + [(False, False)] * neither
    random.Random(0).shuffle(pairs)
    return Comparison.of([champion for champion, _ in pairs], [challenger for _, challenger in pairs])


def test_a_comparison_counts_images() -> None:
    found = compare(gained=30, lost=10, both=50, neither=10)
    assert (found.images, found.gained, found.lost) == (100, 30, 10)
    assert found.champion_accuracy == pytest.approx(0.6)
    assert found.challenger_accuracy == pytest.approx(0.8)
    assert found.difference == pytest.approx(0.2)


def test_it_must_be_the_same_images() -> None:
    with pytest.raises(ValueError, match="zip"):
        Comparison.of([True, False], [True])


@pytest.mark.parametrize(("gained", "lost"), [(400, 330), (330, 400), (250, 250)])
def test_the_bootstrap_agrees_with_the_normal_approximation(gained: int, lost: int) -> None:
    count = 10_000
    difference = (gained - lost) / count
    spread = Z95 * math.sqrt(((gained + lost) / count - difference**2) / count)
    low, high = paired_interval(gained, lost, count)
    # 10,000 resamples know a percentile to about 1 % of the interval's width.
    assert low == pytest.approx(difference - spread, abs=0.03 * spread)
    assert high == pytest.approx(difference + spread, abs=0.03 * spread)


def test_the_interval_covers_the_difference_as_often_as_it_says() -> None:
    import numpy as np

    shares, count = (0.06, 0.04, 0.9), 2000
    samples = np.random.default_rng(1).multinomial(count, shares, size=400)
    intervals = [paired_interval(int(up), int(down), count, resamples=2000) for up, down, _ in samples]
    covered = sum(low <= shares[0] - shares[1] <= high for low, high in intervals)
    assert covered / 400 == pytest.approx(0.95, abs=0.033)  # three standard deviations of such a share


def test_the_same_counts_give_the_same_interval() -> None:
    assert paired_interval(40, 33, 1000) == paired_interval(40, 33, 1000)


def test_models_that_agree_on_all_images_differ_by_nothing() -> None:
    assert paired_interval(0, 0, 500) == (0.0, 0.0)


def test_a_challenger_whose_interval_lies_above_0_becomes_the_champion() -> None:
    found = decide(compare(gained=400, lost=300, both=9000, neither=300))
    assert found.is_champion
    assert found.comparison is not None
    assert found.comparison.interval[0] > 0.0
    assert found.reason.startswith(
        "on 10,000 test images the challenger's accuracy is 0.9400 and the champion's 0.9300, a difference of +0.0100"
    )
    assert found.reason.endswith("only the champion about 300: the interval lies above 0")


@pytest.mark.parametrize(("gained", "lost"), [(320, 300), (300, 320), (300, 500)])
def test_a_challenger_that_may_be_no_better_does_not(gained: int, lost: int) -> None:
    found = decide(compare(gained=gained, lost=lost, both=9000))
    assert not found.is_champion
    assert found.reason.endswith("the interval does not lie above 0")


def test_a_handful_of_images_is_too_few_to_decide_by() -> None:
    few = compare(gained=MIN_DISAGREEMENTS - 1, lost=0, both=300)
    assert few.interval[0] > 0.0  # the bootstrap knows no better
    found = decide(few)
    assert not found.is_champion
    assert "too few" in found.reason
    assert decide(compare(gained=MIN_DISAGREEMENTS, lost=0, both=300)).is_champion


def test_without_a_champion_the_first_one_becomes_it() -> None:
    assert first_champion().is_champion
    assert first_champion().comparison is None


HERE = Interface(("cat", "dog"), (3, 32, 32), "uint8")


@pytest.mark.parametrize(
    ("there", "word"),
    [
        (Interface(("dog", "cat"), (3, 32, 32), "uint8"), "its 2 classes are others"),
        (Interface(("cat", "dog", "cow"), (3, 32, 32), "uint8"), "its 3 classes are others than these 2"),
        (
            Interface(("cat", "dog"), (1, 28, 28), "uint8"),
            "images of uint8, 1 x 28 x 28, and not of uint8, 3 x 32 x 32",
        ),
        (Interface(("cat", "dog"), (3, 32, 32), "float32"), "images of float32, 3 x 32 x 32"),
    ],
)
def test_what_cannot_be_compared_stays_and_a_remedy_is_named(there: Interface, word: str) -> None:
    difference = HERE.differs_from(there)
    assert difference is not None
    assert word in difference
    found = incomparable(difference, 3)
    assert not found.is_champion
    assert "version 3" in found.reason
    assert "--name" in found.reason


def test_the_same_interface_can_be_compared() -> None:
    assert HERE.differs_from(Interface(("cat", "dog"), (3, 32, 32), "uint8")) is None
