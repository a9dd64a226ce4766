"""What a study's storage knows of its trials, beyond what Optuna keeps by itself."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.records import COUNTED, Outcome, TrialResult

# The parameters of a study that compares cases, see `pipeline.study.cases`.
CASE, SEED = "case", "seed"
# User attributes: the configuration as plain values, and the TrialResult.
CONFIG, RESULT = "config", "result"
# Optuna knows three ends; ours are finer.
STATES: dict[Outcome, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.FAIL,
}
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def result_of(trial: FrozenTrial) -> TrialResult | None:
    """Returns how a trial ended, or None if it has not."""
    fields = trial.user_attrs.get(RESULT)
    return None if fields is None else TrialResult.from_json(fields)


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """Returns a trial's outcome, or None if it is waiting or running."""
    result = result_of(trial)
    return None if result is None else result.outcome


def count_outcomes(trials: Sequence[FrozenTrial]) -> dict[Outcome, int]:
    """Returns how many trials ended in each way, all ways listed."""
    outcomes = [outcome_of(trial) for trial in trials]
    return {outcome: outcomes.count(outcome) for outcome in STATES}


def images_through_backbone(trials: Sequence[FrozenTrial]) -> tuple[int, int]:
    """Returns how many images passed through the trials' backbones, and how many the feature cache spared them.

    A trial that took over another one's result had none of its own.
    """
    results = [result for trial in trials if (result := result_of(trial)) is not None and result.same_as is None]
    return sum(result.backbone_images or 0 for result in results), sum(result.cached_images or 0 for result in results)


def num_counted(trials: Sequence[FrozenTrial]) -> int:
    """Returns how many of a study's trials are used up."""
    return sum(outcome_of(trial) in COUNTED for trial in trials)


def twin_of(study: optuna.Study, config: dict[str, Any]) -> FrozenTrial | None:
    """Returns the finished trial that had the same configuration, if there is one."""
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        if trial.user_attrs.get(CONFIG) == config:
            return trial
    return None


def finish(study: optuna.Study, trial: optuna.Trial, config: dict[str, Any] | None, result: TrialResult) -> None:
    """Records how a trial ended; an interrupted one is put in the queue, to be run again.

    So is a failed one in a study that compares cases: nothing that were drawn in its place could stand for it.

    Args:
        study: Its study.
        trial: The trial, running.
        config: Its configuration as plain values; None if it never had one.
        result: How it ended.
    """
    if config is not None:
        trial.set_user_attr(CONFIG, config)
    trial.set_user_attr(RESULT, result.to_json())
    value = result.value if result.outcome == "complete" else None
    study.tell(trial, value, state=STATES[result.outcome])
    again = ("interrupted", "failed") if CASE in trial.params else ("interrupted",)
    if result.outcome in again and trial.params:
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number})


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Returns a trial that another process left running, to be finished."""
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Returns the best complete trial, the earliest of equals."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
    ranked = sorted(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    return ranked[0] if ranked else None
