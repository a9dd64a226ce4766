"""What a study's storage knows of its trials, beyond what Optuna keeps by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.records.results import COUNTED, RESULT_TYPE, Outcome, TrialResult
from pipeline.storage.internals import storage_of, trial_id
from pipeline.study.attributes import CONFIG, CURVES, FIRST_ATTEMPT, RESULT, RETRY, RETRY_OF, WITHDRAWN

# The parameters of a study that compares cases, see `pipeline.study.cases`.
CASE, SEED = "case", "seed"
# Optuna knows three ends; ours are finer. An interrupted trial has no end: it waits to be resumed.
STATES: dict[Outcome, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# How a trial ended that Optuna has marked failed, because its heartbeat had expired.
HEARTBEAT_EXPIRED = TrialResult("failed", reason="marked failed: its heartbeat expired")


@dataclass(frozen=True)
class Attempt:
    """Which attempt at a configuration a trial is.

    Attributes:
        retry: How often it has been tried before.
        retry_of: Number of the trial before it; None for a first attempt, or for a trial resumed under its number.
        first_attempt: Number of the first attempt.
    """

    retry: int
    retry_of: int | None
    first_attempt: int


def attempt_of(trial: FrozenTrial | optuna.Trial) -> Attempt:
    """Returns which attempt a trial is."""
    attrs = trial.user_attrs
    return Attempt(attrs.get(RETRY, 0), attrs.get(RETRY_OF), attrs.get(FIRST_ATTEMPT, trial.number))


def result_of(trial: FrozenTrial) -> TrialResult | None:
    """Returns how a trial ended, or None if it has not, or never began."""
    if not trial.state.is_finished() or WITHDRAWN in trial.user_attrs:
        return None
    if (fields := trial.user_attrs.get(RESULT)) is not None:
        return RESULT_TYPE.validate_python(fields)
    return HEARTBEAT_EXPIRED if trial.state == TrialState.FAIL else None


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
    results = [result for trial in trials if (result := result_of(trial)) is not None and result.duplicate_of is None]
    return sum(result.backbone_images or 0 for result in results), sum(result.cached_images or 0 for result in results)


def num_counted(trials: Sequence[FrozenTrial]) -> int:
    """Returns how many of a study's trials are used up."""
    return sum(outcome_of(trial) in COUNTED for trial in trials)


def find_duplicate(study: optuna.Study, config: dict[str, Any]) -> FrozenTrial | None:
    """Returns the finished trial that had the same configuration, if there is one."""
    for trial in study.get_trials(deepcopy=False, states=FINISHED):
        if trial.user_attrs.get(CONFIG) == config:
            return trial
    return None


def finish(
    study: optuna.Study,
    trial: optuna.Trial,
    config: dict[str, Any] | None,
    result: TrialResult,
    *,
    further_metrics: Sequence[str] = (),
    curves: dict[str, Any] | None = None,
    retries: int = 0,
) -> bool:
    """Records how a trial ended; an interrupted one is put back, to be resumed under its number.

    Args:
        study: Its study.
        trial: The trial, running.
        config: Its configuration as plain values; None if it never had one.
        result: How it ended.
        further_metrics: The study's metrics after the first one.
        curves: What its epochs brought; None if it had none.
        retries: How often it may be tried again if it has failed.

    Returns:
        False if another process has marked it failed before, because its heartbeat had expired.
    """
    try:
        if result.outcome == "interrupted":
            return requeue(study, trial_id(trial))
        if config is not None:
            trial.set_user_attr(CONFIG, config)
        if curves is not None:
            trial.set_user_attr(CURVES, curves)
        trial.set_user_attr(RESULT, result.to_json())
        values = [value for value in (result.value, *map(result.metric_value, further_metrics)) if value is not None]
        study.tell(trial, values if result.outcome == "complete" else None, state=STATES[result.outcome])
    except optuna.exceptions.UpdateFinishedTrialError:
        return False
    if result.outcome == "failed":
        requeue_failed(study, frozen_trial(study, trial.number), retries)
    return True


def requeue(study: optuna.Study, identity: int) -> bool:
    """Lets a running trial wait, with all that it has, to be claimed again; False if somebody has ended it before."""
    try:
        return storage_of(study).set_trial_state_values(identity, TrialState.WAITING)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def has_retry(trial: FrozenTrial, retries: int) -> bool:
    """Returns whether a trial that failed is tried again, if a configuration may be so often.

    One that had no parameters yet, and was not queued with any, need not be: any other will do.
    """
    return attempt_of(trial).retry < retries and bool(_point(trial))


def requeue_failed(study: optuna.Study, trial: FrozenTrial, retries: int) -> None:
    """Queues a failed trial's parameters again: as a retry, or as a new trial where nothing else could stand for it.

    Args:
        study: Its study.
        trial: The trial.
        retries: How often a configuration may be tried again.
    """
    attempt, point = attempt_of(trial), _point(trial)
    if has_retry(trial, retries):
        attrs = {RETRY: attempt.retry + 1, RETRY_OF: trial.number, FIRST_ATTEMPT: attempt.first_attempt}
        study.enqueue_trial(point, user_attrs=attrs)
    elif CASE in point:
        study.enqueue_trial(point)


def _point(trial: FrozenTrial) -> dict[str, Any]:
    """Returns a trial's parameters, those included that it was queued with and has not come to yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def frozen_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """Returns a trial as the storage has it."""
    return study.get_trials(deepcopy=False)[number]


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Returns a trial that another process left running, to be finished."""
    return optuna.Trial(study, trial_id(frozen_trial(study, number)))


def losses(study: optuna.Study, trial: FrozenTrial) -> tuple[float, ...]:
    """Returns a complete trial's values in all metrics, so that less is better: what is maximized, with a minus."""
    maximized = optuna.study.StudyDirection.MAXIMIZE
    return tuple(
        -value if direction == maximized else value
        for value, direction in zip(trial.values, study.directions, strict=True)
    )


def rank(study: optuna.Study, trial: FrozenTrial) -> tuple[tuple[float, ...], int]:
    """Returns what decides which of two complete trials is the better one, the smaller: there is no other rule.

    It is the first metric, of equals the further ones in their order, and of equals in all the earlier number.
    """
    return losses(study, trial), trial.number


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the complete trials, best first, see `rank`.

    Trials that took over another one's result are left out: they are that trial once more.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    # Every trial asks for this at its end: the results are looked into, and not read as a whole.
    own = [trial for trial in trials if trial.user_attrs.get(RESULT, {"duplicate_of": 0})["duplicate_of"] is None]
    return sorted(own, key=lambda trial: rank(study, trial))
