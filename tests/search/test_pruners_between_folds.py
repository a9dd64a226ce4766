"""With folds a pruner sees a value a fold, and may end a trial after the first one."""

from typing import Any

import optuna
import pytest

from pipeline.config.study import Hyperband, Median, NoPruning, Percentile, SuccessiveHalving
from pipeline.search.pruners import build_pruner

FOLDS = 5


def pruned_after(pruner: Any, value: float, *, others: int = 12) -> int | None:
    """The fold after which a trial with this running mean is pruned, in a study of better ones; None for none."""
    study = optuna.create_study(
        direction="maximize", pruner=build_pruner(pruner, max_epochs=100, num_folds=FOLDS), study_name="s"
    )
    for other in range(others):
        trial = study.ask()
        for fold in range(1, FOLDS + 1):
            trial.report(0.8 + 0.001 * other, fold)
            trial.should_prune()
        study.tell(trial, 0.8 + 0.001 * other)
    trial = study.ask()
    for fold in range(1, FOLDS + 1):
        trial.report(value, fold)
        if trial.should_prune():
            return fold
    return None


@pytest.mark.parametrize(
    "pruner", [Median(), Percentile(percentile=50.0), SuccessiveHalving(min_epochs=4), Median(warmup_epochs=50)]
)
def test_a_bad_first_fold_ends_a_trial(pruner: Any) -> None:
    """The epochs of a warm-up, and those that every trial gets, are over by then."""
    assert pruned_after(pruner, 0.1) == 1
    assert pruned_after(pruner, 0.9) is None


def test_hyperband_has_brackets_for_so_many_folds() -> None:
    pruner = build_pruner(Hyperband(min_epochs=2), max_epochs=100, num_folds=FOLDS)
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    trial = study.ask()
    trial.report(0.5, 1)
    trial.should_prune()
    assert pruner._n_brackets == 2


def test_none_prunes_nothing() -> None:
    assert pruned_after(NoPruning(), 0.0) is None
