"""Heartbeats: a supervisor sends them for its running trials, and marks trials failed whose heartbeat has expired."""

import time
from collections.abc import Collection

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.records.events import TrialExpired
from pipeline.storage.internals import heartbeats_of, trial_id
from pipeline.study.trials import HEARTBEAT_EXPIRED, requeue_failed


class Heartbeat:
    """Sends the heartbeats of a supervisor's trials.

    It uses Optuna's `record_heartbeat`, and `fail_stale_trials` for trials whose last heartbeat is too old. Optuna does
    not notice a trial that never had a heartbeat, because its process died at once; so this sends one heartbeat for
    every trial of another process that it has not seen before.

    Args:
        retries: How often to retry a trial whose process died.
    """

    def __init__(self, retries: int) -> None:
        self.retries = retries
        self.seen: set[int] = set()
        self.expired: list[TrialExpired] = []
        self.last_sent = time.monotonic()

    def on_stale(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Handles a trial that Optuna has marked failed; see `pipeline.storage.open.open_storage`."""
        requeue_failed(study, trial, self.retries)
        self.expired.append(TrialExpired(trial.number, HEARTBEAT_EXPIRED))

    def send(self, study: optuna.Study, own: Collection[int]) -> list[TrialExpired]:
        """Sends heartbeats, if it is time to; returns the trials whose heartbeat had expired.

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
