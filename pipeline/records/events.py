"""What workers tell their supervisor, and it tells whoever watches or logs: plain values, without torch."""

from dataclasses import dataclass
from typing import Any

from pipeline.records.results import DataSummary, EpochResult, Outcome, TrialResult


@dataclass(frozen=True)
class WorkerReady:
    """A worker has loaded its data."""

    data: DataSummary


@dataclass(frozen=True)
class TrialRequested:
    """A worker is free."""


@dataclass(frozen=True)
class NothingToClaim:
    """All of the study's trials are taken; ``complete`` if they have also ended, so that none can come back."""

    complete: bool


@dataclass(frozen=True)
class TrialClaimed:
    """A worker has a trial, which has no configuration yet; so many of the study's trials were used up by then."""

    number: int
    counted: int


@dataclass(frozen=True)
class TrialStarted:
    """A trial has its configuration.

    Attributes:
        number: The trial's.
        params: What was drawn.
        config: The configuration as plain values.
        started: Unix time in seconds.
        retry: How many times it has been tried before.
        retry_of: Number of the trial that it tries again; None for the first attempt.
    """

    number: int
    params: dict[str, Any]
    config: dict[str, Any]
    started: float
    retry: int = 0
    retry_of: int | None = None


@dataclass(frozen=True)
class EpochEnded:
    """A trial has finished an epoch."""

    number: int
    result: EpochResult


@dataclass(frozen=True)
class TrialEnded:
    """A trial is over."""

    number: int
    result: TrialResult


@dataclass(frozen=True)
class TrialExpired:
    """A trial whose process, somewhere, has not been heard of for too long has been ended."""

    number: int
    result: TrialResult


@dataclass(frozen=True)
class Notice:
    """A worker has something to say to the user, in a line."""

    text: str


@dataclass(frozen=True)
class WorkerOverLimit:
    """A worker is about to end itself, in the middle of a trial that has passed a limit: pruned or failed by that."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class WorkerFailed:
    """A worker cannot go on, because of something that only the user can mend."""

    message: str


Event = (
    WorkerReady
    | TrialRequested
    | NothingToClaim
    | TrialClaimed
    | TrialStarted
    | EpochEnded
    | TrialEnded
    | TrialExpired
    | Notice
    | WorkerOverLimit
    | WorkerFailed
)
