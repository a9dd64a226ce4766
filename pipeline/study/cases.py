"""Named configurations, each trained with several seeds: a study that compares instead of searching."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from pipeline.config.metrics import Monitor
from pipeline.config.study import NoPruning, Random, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.records.results import TrialResult
from pipeline.study.trials import CASE, SEED, outcome_of, result_of

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Cases:
    """What such a study draws from: it is called with a trial.

    Attributes:
        configs: The configurations by name. Their own seed is the first one.
        num_seeds: How many seeds each gets.
    """

    configs: Mapping[str, TrialConfig]
    num_seeds: int

    def __call__(self, trial: optuna.Trial) -> TrialConfig:
        name = trial.suggest_categorical(CASE, list(self.configs))
        return self.configs[name].replaced({"seed": trial.suggest_int(SEED, 0, LARGEST_SEED)})

    @property
    def definition(self) -> dict[str, Any]:
        """What tells a study of other cases from this one; the number of seeds may grow."""
        return {name: config.to_dict() for name, config in self.configs.items()}

    def settings(
        self, *, metric: Monitor = "valid_accuracy", timeout: float | None = None, keeps_models: bool = False
    ) -> StudyConfig:
        """Returns the settings of a study that runs each case with each seed, seed by seed.

        Args:
            metric: What is measured.
            timeout: Seconds after which a call ends; None for any.
            keeps_models: Whether the weights of all trials are kept.
        """
        points = tuple(
            {CASE: name, SEED: config.seed + seed}
            for seed in range(self.num_seeds)
            for name, config in self.configs.items()
        )
        return StudyConfig(
            metrics=(metric,),
            trials=len(points),
            timeout=timeout,
            keep_models=len(points) if keeps_models else 0,
            sampler=Random(),
            pruner=NoPruning(),
            baselines=points,
        )


def case_label(params: Mapping[str, Any]) -> dict[str, str]:
    """Returns the case of a trial's parameters under its name; nothing where the study has no cases."""
    return {CASE: params[CASE]} if CASE in params else {}


def trials_by_case(study: optuna.Study) -> dict[str, dict[int, FrozenTrial]]:
    """Returns the trials of a study of cases that have a result: by name, then by seed. Failed ones have none."""
    found: dict[str, dict[int, FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        if outcome_of(trial) in ("complete", "diverged"):
            found.setdefault(trial.params[CASE], {})[trial.params[SEED]] = trial
    return found


def results_by_case(study: optuna.Study) -> dict[str, dict[int, TrialResult]]:
    """Returns the results of a study of cases; see `trials_by_case`."""
    return {
        case: {seed: result for seed, trial in trials.items() if (result := result_of(trial)) is not None}
        for case, trials in trials_by_case(study).items()
    }
