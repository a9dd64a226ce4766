"""Heartbeats: a supervisor tells the storage that its trials live, and ends those that nobody tells of any more."""

import time
from collections.abc import Collection

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.records.events import TrialExpired
from pipeline.storage.internals import heartbeats_of, trial_id
from pipeline.study.trials import HEARTBEAT_EXPIRED, requeue_failed


class Heartbeat:
    """Beats for a supervisor's trials.

    It goes by Optuna's own means: `record_heartbeat`, and `fail_stale_trials` for trials whose last beat is too old.
    Optuna does not see a trial that never had one, because its process died at once; so a heart beats once for every
    trial of others that it has not seen before.

    Args:
        retries: How often a trial is tried again whose process died.
    """

    def __init__(self, retries: int) -> None:
        self.retries = retries
        self.seen: set[int] = set()
        self.expired: list[TrialExpired] = []
        self.last_sent = time.monotonic()

    def on_stale(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Is told by Optuna of a trial that it has ended; see `pipeline.storage.open.open_storage`."""
        requeue_failed(study, trial, self.retries)
        self.expired.append(TrialExpired(trial.number, HEARTBEAT_EXPIRED))

    def send(self, study: optuna.Study, own: Collection[int]) -> list[TrialExpired]:
        """Beats, if it is time to; returns the trials that were ended.

        Args:
            study: The study, in a storage that tells `on_stale`.
            own: Numbers of the trials that the supervisor's workers run.
        """
        storage = heartbeats_of(study)
        interval = storage.get_heartbeat_interval()
        assert interval is not None
        waited = time.monotonic() - self.last_sent
        if waited < interval:
            return []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number in own or trial.number not in self.seen:
                storage.record_heartbeat(trial_id(trial))
                self.seen.add(trial.number)
        self.last_sent = time.monotonic()
        # What kept this one (a database that was away) may have kept the others, who are alive.
        if waited < 2 * interval:
            optuna.storages.fail_stale_trials(study)
        expired, self.expired = self.expired, []
        return expired
