"""Pruners: a row each. They see the study's first metric after every epoch."""

from collections.abc import Callable
from typing import Any

from optuna import pruners

from pipeline.study.prunable import PrunableHyperband
from pipeline.study_config import PrunerBlock, PrunerConfig

# From its settings and the most epochs that a trial can have.
PRUNERS: dict[str, Callable[[Any, int], pruners.BasePruner]] = {
    "none": lambda c, max_epochs: pruners.NopPruner(),
    "patient": lambda c, max_epochs: pruners.PatientPruner(None, patience=c.patience, min_delta=c.min_delta),
    "median": lambda c, max_epochs: pruners.MedianPruner(
        n_startup_trials=c.startup_trials, n_warmup_steps=c.warmup_epochs
    ),
    "percentile": lambda c, max_epochs: pruners.PercentilePruner(
        c.percentile, n_startup_trials=c.startup_trials, n_warmup_steps=c.warmup_epochs
    ),
    "successive_halving": lambda c, max_epochs: pruners.SuccessiveHalvingPruner(
        min_resource=c.min_epochs, reduction_factor=c.reduction_factor
    ),
    "hyperband": lambda c, max_epochs: PrunableHyperband(
        min_resource=c.min_epochs, max_resource=max(max_epochs, c.min_epochs), reduction_factor=c.reduction_factor
    ),
}


def build_pruner(config: PrunerConfig, *, max_epochs: int) -> pruners.BasePruner:
    """Builds the pruner that a configuration describes.

    Args:
        config: Its description.
        max_epochs: The most epochs that a trial can have.
    """
    pruner = PRUNERS[config.kind](config, max_epochs)
    if isinstance(config, PrunerBlock) and config.patience is not None:
        return pruners.PatientPruner(pruner, patience=config.patience)
    return pruner
