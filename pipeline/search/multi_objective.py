"""Studies of several metrics whose trials are pruned, by the first one.

Optuna prunes in studies of one objective only: with several, `Trial.report`, `Trial.should_prune` and `Study.direction`
raise. Its pruners, and TPE where it ranks pruned trials, ask for nothing of the objectives but `Study.direction`, so it
is enough that these three speak of the first metric. With one metric all is as Optuna has it.
"""

from collections.abc import Callable, Container

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.storage.internals import storage_of


class MultiObjectiveStudy(optuna.Study):
    """A study as its pruner and its sampler see it."""

    @property
    def direction(self) -> optuna.study.StudyDirection:
        """The direction of the first metric."""
        return self.directions[0]


class MultiObjectiveTrial(optuna.Trial):
    """A running trial of a `MultiObjectiveStudy`."""

    def report(self, value: float, step: int) -> None:
        """Reports the first metric after an epoch, which must not have been reported before."""
        self.storage.set_trial_intermediate_value(self._trial_id, step, value)
        self._cached_frozen_trial.intermediate_values[step] = value

    def should_prune(self) -> bool:
        """Returns whether the pruner wants the trial to end, by what was reported."""
        return self.study.pruner.prune(self.study, self._get_latest_trial())


class HyperbandBracket(MultiObjectiveStudy):
    """The trials of a study that are in one of Hyperband's brackets.

    Args:
        study: The study.
        pruner: Its pruner.
        bracket_of: Returns the number of a trial's bracket.
        bracket: Number of this one.
    """

    def __init__(
        self,
        study: optuna.Study,
        pruner: optuna.pruners.HyperbandPruner,
        bracket_of: Callable[[optuna.Study, FrozenTrial], int],
        bracket: int,
    ) -> None:
        super().__init__(study.study_name, storage_of(study), study.sampler, pruner)
        self.bracket_of, self.bracket = bracket_of, bracket

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Returns the bracket's trials."""
        return [trial for trial in super().get_trials(deepcopy, states) if self.bracket_of(self, trial) == self.bracket]


class MultiObjectiveHyperband(optuna.pruners.HyperbandPruner):
    """Hyperband, whose brackets Optuna makes from the storage, as studies that know all directions again."""

    def _create_bracket_study(self, study: optuna.Study, bracket_id: int) -> HyperbandBracket:
        return HyperbandBracket(study, self, self._get_bracket_id, bracket_id)
