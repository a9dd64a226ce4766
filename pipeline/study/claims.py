"""Trials are claimed: however many processes run a study, it has as many trials as it should, and none runs twice."""

import random
import time
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.storage.internals import storage_of, study_id, trial_id
from pipeline.storage.open import RecentTrials
from pipeline.study.attributes import RETRY_OF, TOTAL, WITHDRAWN
from pipeline.study.trials import FINISHED

# How long two who have claimed the last trial at once wait at most before they try again.
MAX_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Claim:
    """A trial that is the caller's to run.

    Attributes:
        trial_id: Its id in the storage.
        number: Its number.
        ordinal: How many trials were drawn before it, not counting retries: what its sampler is seeded with.
        counted: How many of the study's trials were used up.
    """

    trial_id: int
    number: int
    ordinal: int
    counted: int


@dataclass(frozen=True)
class NoClaim:
    """All trials are taken; ``complete`` if they have also ended, so that none can come back."""

    complete: bool


def claim_trial(study: optuna.Study) -> Claim | NoClaim:
    """Claims the next trial of a study: one that waits, or a new one.

    A storage can change a trial from waiting to running for one process alone, and can number new trials; it can not
    count them in the same breath. So a trial is taken first and counted then: whoever finds too many running puts its
    own back. Of several claims at once none can overlook one that came before it, so there never are too many; all may
    give way, and try again.
    """
    storage = storage_of(study)
    while True:
        total = study.user_attrs[TOTAL]
        trials = _read(study)
        ended, running = _count(trials)
        if ended + running >= total:
            return NoClaim(complete=ended >= total)
        taken = _take_waiting(storage, trials)
        if taken is None:
            taken = storage.create_new_trial(study_id(study))
        trials = _read(study)
        if sum(_count(trials)) <= total:
            number = next(trial.number for trial in trials if trial_id(trial) == taken)
            return Claim(taken, number, _ordinal(trials, number), ended)
        storage.set_trial_state_values(taken, TrialState.WAITING)
        time.sleep(random.uniform(0.0, MAX_PAUSE_SECONDS))


def withdraw_leftovers(study: optuna.Study) -> None:
    """Ends the trials of a complete study that were taken when there was none left, and put back, and never ran."""
    storage = storage_of(study)
    for trial in _read(study):
        is_empty = not trial.params and "fixed_params" not in trial.system_attrs
        if trial.state == TrialState.WAITING and is_empty and _take(storage, trial):
            storage.set_trial_user_attr(trial_id(trial), WITHDRAWN, True)
            storage.set_trial_state_values(trial_id(trial), TrialState.FAIL)


def _read(study: optuna.Study) -> list[FrozenTrial]:
    """Returns all trials as they are now."""
    if isinstance(storage := storage_of(study), RecentTrials):
        storage.forget()
    return study.get_trials(deepcopy=False)


def _count(trials: list[FrozenTrial]) -> tuple[int, int]:
    """Returns how many trials are used up, and how many run."""
    return (
        sum(trial.state in FINISHED for trial in trials),
        sum(trial.state == TrialState.RUNNING for trial in trials),
    )


def _take_waiting(storage: optuna.storages.BaseStorage, trials: list[FrozenTrial]) -> int | None:
    """Takes the first trial that waits and that nobody else takes; returns its id."""
    waiting = (trial for trial in trials if trial.state == TrialState.WAITING)
    return next((trial_id(trial) for trial in waiting if _take(storage, trial)), None)


def _take(storage: optuna.storages.BaseStorage, trial: FrozenTrial) -> bool:
    """Makes a waiting trial a running one; returns whether nobody else was faster."""
    try:
        return storage.set_trial_state_values(trial_id(trial), TrialState.RUNNING)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def _ordinal(trials: list[FrozenTrial], number: int) -> int:
    return number - sum(RETRY_OF in trial.user_attrs for trial in trials[:number])
