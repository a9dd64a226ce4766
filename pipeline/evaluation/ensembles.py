"""Several models together: their probabilities averaged, and which ones to take."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

# From probabilities (images, classes) and labels (images,) to what they are worth, the larger the better.
Score = Callable[[Tensor, Tensor], float]
# Picks of the greedy selection; a model may be picked several times, which gives it more weight.
MOST_PICKS = 25
# A probability that is rounded to 0 would outweigh all others.
SMALLEST = 1e-300


def averaged(log_probabilities: Sequence[Tensor]) -> Tensor:
    """Returns the logarithms of the mean of several models' probabilities, (images, classes).

    Args:
        log_probabilities: Each model's, (images, classes).
    """
    return torch.logsumexp(torch.stack(list(log_probabilities)), 0) - math.log(len(log_probabilities))


def log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Returns the mean logarithm of the right classes' probabilities (images, classes), in nats."""
    return float(probabilities.gather(1, labels[:, None]).clamp_min(SMALLEST).log().mean())


def greedy(candidates: Mapping[str, Tensor], labels: Tensor, score: Score = log_likelihood) -> list[str]:
    """Selects an ensemble from a library of models: Caruana et al., ICML 2004, with replacement.

    It begins with the best model; then that model is added, again and again, with which the ensemble's score is the
    largest. The ensemble that was best on the way is taken: with every pick it could only fit these images better,
    so that they say too much of it.

    Args:
        candidates: By name, each model's log-probabilities for the validation images, (images, classes).
        labels: Their classes, (images,).
        score: Of mean probabilities and the labels, the larger the better.

    Returns:
        The names, in the order of the picks.
    """
    probabilities = {name: values.double().exp() for name, values in candidates.items()}
    total = torch.zeros_like(next(iter(probabilities.values())))
    picks: list[str] = []
    scores: list[float] = []

    def score_with(name: str) -> float:
        return score((total + probabilities[name]) / (len(picks) + 1), labels)

    for _ in range(min(MOST_PICKS, 5 * len(candidates))):
        found = {name: score_with(name) for name in probabilities}
        best = max(found, key=lambda name: found[name])
        total += probabilities[best]
        picks.append(best)
        scores.append(found[best])
    return picks[: scores.index(max(scores)) + 1]
