"""Which parameters of a study mattered: PED-ANOVA and fANOVA."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.core.errors import StudyError
from pipeline.study.trials import losses

if TYPE_CHECKING:
    import optuna

# fANOVA splits trials with a forest: with fewer there is nothing to split.
MIN_TRIALS = 8
# PED-ANOVA compares the best tenth of the trials with all; its authors want five in that tenth.
ENOUGH_TRIALS = 50


@dataclass(frozen=True)
class Importance:
    """What a parameter mattered.

    Attributes:
        parameter: Its name.
        condition: The choice on which it hangs, such as ``optimizer.kind = sgd``; None if every trial has it.
        trials: Complete trials that have it.
        ped_anova: How much its values in the best tenth of the trials differ from those in all, as a share of the sum
            over all parameters: Watanabe et al., IJCAI 2023, and its extension to conditional parameters.
        fanova: Share of the objective's variance that it explains by itself, among the parameters of the trials that
            have it: Hutter et al., ICML 2014; None where those are too few.
    """

    parameter: str
    condition: str | None
    trials: int
    ped_anova: float
    fanova: float | None


def importances(study: "optuna.Study") -> list[Importance]:
    """Returns the importance of every parameter for the first metric, the largest by PED-ANOVA first.

    A conditional parameter's fANOVA is computed on the trials that have it, together with the parameters that all
    trials have: it compares with theirs within these trials.

    Raises:
        StudyError: There are too few complete trials.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(trials) < MIN_TRIALS:
        raise StudyError(
            f"importances need {MIN_TRIALS} complete trials; study {study.study_name} has {len(trials)}. Run more with "
            "--trials, or prune fewer"
        )
    if not any(trial.params for trial in trials):
        raise StudyError(f"study {study.study_name} has no parameters, so there are no importances")
    counts = {name: sum(name in trial.params for trial in trials) for trial in trials for name in trial.params}
    shared = [name for name, count in counts.items() if count == len(trials)]

    def first(trial: optuna.trial.FrozenTrial) -> float:
        return losses(study, trial)[0]

    def fanova(names: Sequence[str]) -> dict[str, float]:
        try:
            forest = FanovaImportanceEvaluator(seed=0)
            return get_param_importances(study, evaluator=forest, params=list(names), target=first, normalize=False)
        except RuntimeError:  # all these trials have one value: there is no variance to explain
            return {}

    def having(name: str) -> tuple[int, ...]:
        return tuple(trial.number for trial in trials if name in trial.params)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few trials: said in our own words
        ped_anova = get_param_importances(study, target=first)
        explained: dict[str, float] = fanova(shared)
        for together in dict.fromkeys(having(name) for name in counts if name not in shared):
            if len(together) >= MIN_TRIALS:
                hanging = [name for name in counts if name not in shared and having(name) == together]
                found = fanova([*shared, *hanging])
                explained |= {name: found[name] for name in hanging if name in found}
    rows = [
        Importance(
            name,
            None if name in shared else _condition(name, counts),
            counts[name],
            value,
            explained[name] if math.isfinite(explained.get(name, math.nan)) else None,
        )
        for name, value in ped_anova.items()
    ]
    return sorted(rows, key=lambda row: -row.ped_anova)


def _condition(name: str, counts: dict[str, int]) -> str:
    """Returns the innermost choice that a conditional parameter hangs on, by its name: ``optimizer.sgd.lr``."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        block = ".".join(parts[:end])
        if f"{block}.kind" in counts and f"{block}.kind" != name:
            return f"{block}.kind = {parts[end]}"
    return "not in every trial"
