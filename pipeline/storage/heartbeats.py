"""Heartbeats of a study's trials: their interval, and the grace period after which a trial is stale."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from pipeline.core.errors import StudyError

HEARTBEAT_SECONDS = 10
# A trial without a heartbeat for so long is stale; a database that restarts, or a busy disk, must not look like that.
GRACE_PERIOD_SECONDS = 60

OnStale = Callable[[optuna.Study, FrozenTrial], None]


@dataclass(frozen=True)
class HeartbeatSettings:
    """The interval between two heartbeats of a trial, and the grace period after which it is stale, in seconds."""

    interval: int
    grace_period: int


def heartbeat_settings() -> HeartbeatSettings:
    """Returns the settings: `HEARTBEAT_SECONDS` and `GRACE_PERIOD_SECONDS`, or what the environment says.

    A cluster whose network or database pauses for longer sets ``DNNTUNE_HEARTBEAT_SECONDS`` and
    ``DNNTUNE_GRACE_PERIOD_SECONDS`` for all processes of a study.

    Raises:
        StudyError: One is not a whole number of seconds, or the grace period is too short for a lost heartbeat.
    """
    interval = _seconds("DNNTUNE_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)
    grace_period = _seconds("DNNTUNE_GRACE_PERIOD_SECONDS", GRACE_PERIOD_SECONDS)
    if grace_period < 2 * interval:
        raise StudyError(
            f"a trial may miss a heartbeat: DNNTUNE_GRACE_PERIOD_SECONDS ({grace_period}) must be at least twice "
            f"DNNTUNE_HEARTBEAT_SECONDS ({interval})"
        )
    return HeartbeatSettings(interval, grace_period)


def _seconds(variable: str, default: int) -> int:
    value = os.environ.get(variable, str(default))
    if not value.isascii() or not value.isdigit() or int(value) == 0:
        raise StudyError(f"the environment variable {variable} is a whole number of seconds, at least 1, not {value!r}")
    return int(value)
