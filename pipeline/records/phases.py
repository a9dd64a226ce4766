"""What the phases of a training have brought, in plain values."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.config.metrics import Monitor, direction
from pipeline.records.results import EpochResult, PhaseResult


def phases_of(epochs: Sequence[EpochResult], metric: Monitor) -> tuple[PhaseResult, ...]:
    """Returns what each phase brought.

    Args:
        epochs: All epochs of a training.
        metric: What the study optimizes.
    """
    better = max if direction(metric) == "maximize" else min
    found = []
    for name, group in itertools.groupby(epochs, lambda epoch: epoch.phase):
        members = list(group)
        best = [number for number, epoch in enumerate(members, 1) if epoch.is_best]
        value = better(epoch.metric_value(metric) for epoch in members)
        found.append(PhaseResult(name, len(members), best[-1] if best else None, value))
    return tuple(found)


def epochs_to_best(phases: Sequence[PhaseResult]) -> list[int]:
    """Returns how many epochs of each phase are in the weights that a training came back with.

    A phase of the network that has the best weights so far ends with them put back, so that its epochs after the best
    one are lost; without a best one, all of them. A network that comes later, which the ladder (`transfer: auto`)
    begins anew, keeps all that it has learned until it has the best weights itself.

    Args:
        phases: Those of a training with at least one epoch.

    Returns:
        Up to the phase with the best epoch, a number for each.
    """
    last = max(number for number, phase in enumerate(phases) if phase.best_epoch is not None)
    used: list[int] = []
    has_best = False
    for phase in phases[: last + 1]:
        if used and is_first_of_network(phase.name):
            used, has_best = [0] * len(used), False
        used.append(phase.best_epoch or (0 if has_best else phase.epochs))
        has_best = has_best or phase.best_epoch is not None
    return used


def is_first_of_network(name: str) -> bool:
    """Returns whether a network begins with a phase of this name: its head learns alone first."""
    return name.endswith("frozen")


def backbone_counts(epochs: Sequence[EpochResult]) -> dict[str, Any]:
    """Returns the fields of `TrialResult` that only a backbone has; none for a perceptron."""
    if not epochs or not epochs[0].phase:
        return {}
    return {
        "backbone_images": sum(epoch.backbone_images for epoch in epochs),
        "cached_images": sum(epoch.cached_images for epoch in epochs),
    }


def phases_text(phases: Iterable[PhaseResult]) -> str | None:
    """Writes the best measure of each phase: ``frozen 0.8470 in 5 epochs; unfreeze 1 0.8660 in 7 epochs``.

    None for a perceptron.
    """
    return "; ".join(f"{p.name} {p.value:.4f} in {_epochs(p.epochs)}" for p in phases if p.name) or None


def lengths_text(lengths: Iterable[tuple[str, int]]) -> str:
    """Writes names of phases and their epochs: ``3 epochs frozen, 7 epochs unfreeze 1``; ``7 epochs`` for a perceptron.

    Phases without an epoch are left out.
    """
    return ", ".join(f"{_epochs(epochs)} {name}".rstrip() for name, epochs in lengths if epochs)


def images_text(backbone_images: int, cached_images: int) -> str:
    """Says how many images passed through the backbone, and how many did not have to."""
    passed = f"{backbone_images:,} images passed through the backbone in training"
    return f"{passed}; {cached_images:,} came from the cache"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
