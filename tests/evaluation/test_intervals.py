"""95 % intervals, against numbers from tables."""

import math
import statistics

import pytest

from pipeline.evaluation.intervals import SHARE, fold_interval, mean_interval, prediction_interval, wilson_interval

# Student's 97.5 % quantiles for 2 and 4 degrees of freedom.
T2, T4 = 4.302653, 2.776445
# Mean 3, standard deviation sqrt(2.5).
FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [
        (0.5, 10, 0.236593, 0.763407),
        (0.0, 10, 0.0, 0.277533),
        (1.0, 10, 0.722467, 1.0),
        (0.8, 5, 0.375535, 0.963776),
        (0.9, 10000, 0.893966, 0.905728),
    ],
)
def test_wilson_interval_is_the_tabled_one(share: float, count: int, low: float, high: float) -> None:
    assert wilson_interval(share, count) == pytest.approx((low, high), abs=2e-6)


def test_mean_interval_of_five_values() -> None:
    spread = T4 * math.sqrt(2.5) / math.sqrt(5.0)
    assert mean_interval(FIVE) == pytest.approx((3.0 - spread, 3.0 + spread), abs=1e-5)
    assert mean_interval(FIVE) == pytest.approx((1.036757, 4.963243), abs=1e-5)


def test_mean_interval_of_three_values_is_wide() -> None:
    # their standard deviation is 1, and that of their mean 1 / sqrt(3)
    assert mean_interval([0.0, 1.0, 2.0]) == pytest.approx((1.0 - T2 / math.sqrt(3), 1.0 + T2 / math.sqrt(3)), abs=1e-5)


def test_prediction_interval_of_five_values() -> None:
    spread = T4 * math.sqrt(2.5) * math.sqrt(1.2)
    assert prediction_interval(FIVE) == pytest.approx((3.0 - spread, 3.0 + spread), abs=1e-5)


@pytest.mark.parametrize("count", [3, 4, 10])
def test_one_more_run_varies_more_than_the_mean(count: int) -> None:
    values = [0.9 + 0.01 * (index % 3) for index in range(count)]
    mean, one_more = mean_interval(values), prediction_interval(values)
    assert mean is not None
    assert one_more is not None
    assert one_more[1] - one_more[0] == pytest.approx(math.sqrt(count + 1) * (mean[1] - mean[0]))
    assert sum(mean) == pytest.approx(sum(one_more)) == pytest.approx(2 * sum(values) / count)


def test_equal_values_have_an_interval_without_width() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_an_interval_is_cut_at_its_bounds() -> None:
    # uncut: 0.5 plus and minus 1.24, and 2.5
    values = [0.0, 0.5, 1.0]
    assert mean_interval(values, SHARE) == (0.0, 1.0)
    assert prediction_interval(values, SHARE) == (0.0, 1.0)
    assert mean_interval(values, (-0.2, 5.0)) == pytest.approx((-0.2, 0.5 + T2 / math.sqrt(12)), abs=1e-5)
    low, high = mean_interval([0.5, 0.5001, 0.5002], SHARE) or (0.0, 1.0)
    assert (low, high) == mean_interval([0.5, 0.5001, 0.5002])


@pytest.mark.parametrize("values", [[], [0.9], [0.8003, 0.9997]])
def test_fewer_than_three_values_have_no_interval(values: list[float]) -> None:
    assert mean_interval(values) is None
    assert prediction_interval(values) is None
    assert fold_interval(values) is None


def test_the_interval_over_folds_takes_into_account_that_they_share_images() -> None:
    """Nadeau and Bengio: with 5 folds the variance is 1/5 + 1/4 of that of a fold, t is 2.7764 with 4 degrees."""
    values = [0.80, 0.84, 0.82, 0.79, 0.85]
    interval = fold_interval(values)
    assert interval is not None
    half = 2.776445 * statistics.stdev(values) * math.sqrt(0.45)
    assert interval == pytest.approx((0.82 - half, 0.82 + half), abs=1e-6)
    assert fold_interval([0.0, 0.5, 1.0], SHARE) == (0.0, 1.0)
