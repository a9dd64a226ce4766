"""How a storage keeps heartbeats: often enough, and so that a database and a proxy before it tell the same."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import StudyError
from pipeline.study.patience import tried_before

HEARTBEAT_SECONDS = 10
# A silent trial is given up after so long; a database that restarts, or a busy disk, must not look like death.
GRACE_SECONDS = 60
# System attribute of a trial: when its heart last beat, in Unix time. Only that it changes matters.
BEAT = "dnntune:heartbeat"

OnStale = Callable[[optuna.Study, FrozenTrial], None]


@dataclass(frozen=True)
class Rhythm:
    """How often a trial's heart beats, and after how long without a beat it counts as dead, in seconds."""

    interval: int
    grace: int


def rhythm() -> Rhythm:
    """Returns the rhythm: `HEARTBEAT_SECONDS` and `GRACE_SECONDS`, or what the environment says.

    A cluster whose network or database pauses for longer sets ``DNNTUNE_HEARTBEAT_SECONDS`` and
    ``DNNTUNE_GRACE_SECONDS`` for all processes of a study.

    Raises:
        StudyError: One is no whole number of seconds, or the grace leaves no room for a lost beat.
    """
    interval = _seconds("DNNTUNE_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)
    grace = _seconds("DNNTUNE_GRACE_SECONDS", GRACE_SECONDS)
    if grace < 2 * interval:
        raise StudyError(
            f"a trial may miss a heartbeat: DNNTUNE_GRACE_SECONDS ({grace}) must be at least twice "
            f"DNNTUNE_HEARTBEAT_SECONDS ({interval})"
        )
    return Rhythm(interval, grace)


def _seconds(variable: str, default: int) -> int:
    value = os.environ.get(variable, str(default))
    if not value.isascii() or not value.isdigit() or int(value) == 0:
        raise StudyError(f"the environment variable {variable} is a whole number of seconds, at least 1, not {value!r}")
    return int(value)


class BeatingStorage(BaseStorage, BaseHeartbeat):
    """What our storages have in common."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Beats, in an attribute of the trial; does nothing if the trial has ended."""
        with contextlib.suppress(UpdateFinishedTrialError):
            self.set_trial_system_attr(trial_id, BEAT, time.time())

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Sets a trial's state as Optuna does, with two cares.

        A trial that waits to be resumed had its last beat long ago: it beats before it runs, or another process could
        end it in the moment between. And an end whose first attempt took effect, though the answer was lost, is no
        error. A claim (to running) whose answer was lost is given up, as nobody can tell whose it is: that trial's
        heart beats no more.
        """
        if state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        try:
            return super().set_trial_state_values(trial_id, state, values)  # type: ignore[safe-super]
        except UpdateFinishedTrialError:
            if not tried_before():
                raise
            trial = self.get_trial(trial_id)
            if trial.state != state or (values is not None and trial.values != list(values)):
                raise
            return True


class Silence:
    """How long trials have been silent, by this process's own clock: those of machines need not agree.

    Args:
        grace: Seconds after which a silent trial counts as dead; it is watched from when it is first seen.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._heard: dict[int, dict[int, tuple[object, float]]] = {}

    def dead(self, study_id: int, running: Sequence[FrozenTrial]) -> list[int]:
        """Returns the ids of the running trials of a study that have been silent for too long."""
        now = time.monotonic()
        before = self._heard.get(study_id, {})
        heard = {}
        for trial in running:
            beat = trial.system_attrs.get(BEAT)
            last, since = before.get(trial._trial_id, (beat, now))
            heard[trial._trial_id] = (beat, since if last == beat else now)
        self._heard[study_id] = heard
        return [trial_id for trial_id, (_, since) in heard.items() if now - since > self._grace]
