"""What the phases of a backbone's training have brought, in plain values."""

import itertools
from collections.abc import Sequence
from typing import Any

from pipeline.records import EpochResult
from pipeline.study_config import direction
from pipeline.training_config import Monitor


def backbone_figures(epochs: Sequence[EpochResult], metric: Monitor) -> dict[str, Any]:
    """Returns the fields of `TrialResult` that only a backbone has; none for a perceptron."""
    if not epochs or not epochs[0].phase:
        return {}
    return {
        "phases": phases_text(epochs, metric),
        "backbone_images": sum(epoch.backbone_images for epoch in epochs),
        "cached_images": sum(epoch.cached_images for epoch in epochs),
    }


def phases_text(epochs: Sequence[EpochResult], metric: Monitor) -> str:
    """Writes the best measure of each phase: ``frozen 0.8470 in 5 epochs; unfreeze 1 0.8660 in 7 epochs``."""
    better = max if direction(metric) == "maximize" else min
    parts = []
    for name, members in itertools.groupby(epochs, lambda epoch: epoch.phase):
        values = [float(getattr(epoch, metric)) for epoch in members]
        plural = "" if len(values) == 1 else "s"
        parts.append(f"{name} {better(values):.4f} in {len(values)} epoch{plural}")
    return "; ".join(parts)


def images_text(backbone_images: int, cached_images: int) -> str:
    """Says how many images passed through the backbone, and how many did not have to."""
    passed = f"{backbone_images:,} images passed through the backbone in training"
    return f"{passed}; the cache spared its frozen layers {cached_images:,}"
