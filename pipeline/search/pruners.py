"""Pruners: a row each. They see the study's first metric after every epoch, which they count from 1.

With folds they see its mean over those that are done after every fold, which they count likewise.
"""

from collections.abc import Callable
from typing import Any

import optuna
from optuna import pruners

from pipeline.config.kinds import built
from pipeline.config.study import MedianBlock, PrunerBlock, PrunerConfig
from pipeline.core.improvement import Improvement
from pipeline.search.multi_objective import MultiObjectiveHyperband


class PatientPruner(pruners.BasePruner):
    """Prunes a trial that has stopped improving on itself, by the measure of early stopping.

    Optuna's own is an epoch more patient, and takes a value that repeats the best one for an improvement.

    Args:
        pruner: Is asked once patience is at its end; None for one that prunes then.
        patience: Epochs without improvement.
        min_delta: An improvement is a change by more than this.
        warmup_epochs: Epochs at the beginning of a trial that do not count.
    """

    def __init__(
        self,
        pruner: pruners.BasePruner | None,
        *,
        patience: int,
        min_delta: float = 0.0,
        warmup_epochs: int = 0,
    ) -> None:
        self.pruner, self.patience, self.min_delta, self.warmup_epochs = pruner, patience, min_delta, warmup_epochs

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Returns whether the trial is to end."""
        maximize = study.direction == optuna.study.StudyDirection.MAXIMIZE
        improvement = Improvement(maximize=maximize, min_delta=self.min_delta, patience=self.patience)
        for epoch, value in sorted(trial.intermediate_values.items()):
            improvement.improved(value, counts=epoch > self.warmup_epochs)
        return improvement.has_stopped and (self.pruner is None or self.pruner.prune(study, trial))


# From its settings and the most epochs that a trial can have.
PRUNERS: dict[str, Callable[[Any, int], pruners.BasePruner]] = {
    "none": lambda c, max_epochs: pruners.NopPruner(),
    "patient": lambda c, max_epochs: PatientPruner(None, patience=c.patience, min_delta=c.min_delta),
    # The first step at which these two prune, counted from 1, is that after the warm-up.
    "median": lambda c, max_epochs: pruners.MedianPruner(
        n_startup_trials=c.startup_trials, n_warmup_steps=c.warmup_epochs + 1
    ),
    "percentile": lambda c, max_epochs: pruners.PercentilePruner(
        c.percentile, n_startup_trials=c.startup_trials, n_warmup_steps=c.warmup_epochs + 1
    ),
    "successive_halving": lambda c, max_epochs: pruners.SuccessiveHalvingPruner(
        min_resource=c.min_epochs, reduction_factor=c.reduction_factor
    ),
    "hyperband": lambda c, max_epochs: MultiObjectiveHyperband(
        min_resource=c.min_epochs, max_resource=max(max_epochs, c.min_epochs), reduction_factor=c.reduction_factor
    ),
}


def build_pruner(config: PrunerConfig, *, max_epochs: int, num_folds: int = 1) -> pruners.BasePruner:
    """Builds the pruner that a configuration describes.

    Args:
        config: Its description; with folds, without patience.
        max_epochs: The most epochs that a trial can have.
        num_folds: The folds of each trial; 1 for none. The epochs of a warm-up, and those that every trial gets, are
            over when the first of several is.
    """
    if num_folds > 1:
        first_fold = {"warmup_epochs": 0, "min_epochs": 1}
        here = {name: value for name, value in first_fold.items() if name in type(config).model_fields}
        config, max_epochs = config.model_copy(update=here), num_folds
    pruner: pruners.BasePruner = built(config, max_epochs, returns=pruners.BasePruner)
    if isinstance(config, PrunerBlock) and config.patience is not None:
        warmup_epochs = config.warmup_epochs if isinstance(config, MedianBlock) else 0
        return PatientPruner(pruner, patience=config.patience, warmup_epochs=warmup_epochs)
    return pruner
