"""95 % intervals: of a proportion, of a mean over seeds, of one more run, of what two classifiers differ by."""

import math
import statistics
from collections.abc import Sequence

# Standard normal quantile of a 95 % interval.
Z95 = 1.959964

Interval = tuple[float, float]
UNBOUNDED: Interval = (-math.inf, math.inf)
# Of two values an interval would be 25 standard errors wide: the values say more.
FEWEST = 3
# Of a proportion, such as accuracy.
SHARE: Interval = (0.0, 1.0)


def wilson_interval(share: float, count: int) -> Interval:
    """Returns the 95 % confidence interval of a proportion: Wilson, 1927.

    Args:
        share: The observed proportion.
        count: Number of observations.
    """
    center = share + Z95**2 / (2 * count)
    spread = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    scale = 1 + Z95**2 / count
    return (center - spread) / scale, (center + spread) / scale


def mean_interval(values: Sequence[float], bounds: Interval = UNBOUNDED) -> Interval | None:
    """Returns the 95 % confidence interval of a mean: Student, 1908; None for fewer than `FEWEST` values.

    Of differences paired by seed, it is the interval of the mean difference.

    Args:
        values: One for each seed, taken as normally distributed.
        bounds: What the values cannot leave; the interval is cut there.
    """
    return _interval(values, 1.0 / len(values), bounds) if len(values) >= FEWEST else None


def fold_interval(values: Sequence[float], bounds: Interval = UNBOUNDED) -> Interval | None:
    """Returns the 95 % interval of what a training on so many images is worth; None for fewer than `FEWEST` folds.

    Folds share most of their training images, so that their values vary together, and by less than the interval of a
    mean of independent values takes into account: the variance is corrected as Nadeau and Bengio (Machine Learning 52,
    2003) do, by the share of images that are validated on.

    Args:
        values: One for each fold, taken as normally distributed.
        bounds: What the values cannot leave; the interval is cut there.
    """
    if len(values) < FEWEST:
        return None
    return _interval(values, 1.0 / len(values) + 1.0 / (len(values) - 1), bounds)


def prediction_interval(values: Sequence[float], bounds: Interval = UNBOUNDED) -> Interval | None:
    """Returns the interval in which one more run of the same setting lies with 95 %; None for fewer than `FEWEST`.

    Args:
        values: One for each seed, taken as normally distributed.
        bounds: What the values cannot leave; the interval is cut there.
    """
    return _interval(values, 1.0 + 1.0 / len(values), bounds) if len(values) >= FEWEST else None


def paired_interval(gained: int, lost: int, count: int, *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Returns the 95 % interval of the difference of two classifiers' accuracies on the same images.

    A paired bootstrap over images (Efron and Tibshirani, 1993, section 13.3: percentiles). An image's difference is 1,
    0 or -1, so that images drawn with replacement come down to a multinomial draw of three counts. The interval is too
    narrow where very few images differ: whoever decides by it asks for some.

    Args:
        gained: Images that only the one is right about.
        lost: Images that only the other is right about.
        count: All images.
        resamples: How often images are drawn.
        seed: Seed of the draws.
    """
    import numpy as np

    shares = (gained / count, lost / count, (count - gained - lost) / count)
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / count, (0.025, 0.975))
    return float(low), float(high)


def _interval(values: Sequence[float], variances: float, bounds: Interval) -> Interval:
    from scipy.stats import t

    spread = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) * math.sqrt(variances)
    mean = statistics.fmean(values)
    return max(mean - spread, bounds[0]), min(mean + spread, bounds[1])
