"""Named configurations, each trained with several seeds: a study that compares instead of searching."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from pipeline.config import TrialConfig
from pipeline.records import TrialResult
from pipeline.study.trials import CASE, SEED, outcome_of, result_of
from pipeline.study_config import NoPruning, Random, StudyConfig

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
    def source(self) -> dict[str, Any]:
        """What tells a study of other cases from this one; the number of seeds may grow."""
        return {name: config.plain() for name, config in self.configs.items()}

    def settings(self, *, timeout: float | None = None, keeps_models: bool = False) -> StudyConfig:
        """Returns the settings of a study that runs each case with each seed, seed by seed.

        Args:
            timeout: Seconds after which a call ends; None for any.
            keeps_models: Whether the weights of all trials are kept.
        """
        points = tuple(
            {CASE: name, SEED: config.seed + seed}
            for seed in range(self.num_seeds)
            for name, config in self.configs.items()
        )
        return StudyConfig(
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


def results_by_case(study: optuna.Study) -> dict[str, dict[int, TrialResult]]:
    """Returns the results of a study of cases: by name, then by seed. Failed and interrupted trials have none."""
    results: dict[str, dict[int, TrialResult]] = {}
    for trial in study.get_trials(deepcopy=False):
        result = result_of(trial)
        if result is not None and outcome_of(trial) in ("complete", "diverged"):
            results.setdefault(trial.params[CASE], {})[trial.params[SEED]] = result
    return results
