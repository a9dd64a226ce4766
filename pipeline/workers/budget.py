"""When a study has to end before it has all its trials."""

import time

from pipeline.records.results import TrialResult

# As many failures with the same error, one after the other, end a study: the next trial would fail likewise.
MAX_SAME_FAILURES = 3


class Budget:
    """Counts failures in a row, and looks at the clock.

    Args:
        deadline: Time (as of `time.monotonic`) after which no trial is given out; None for no limit.

    Attributes:
        is_complete: Whether all of the study's trials have ended.
        last_failure: The reason of the last failure.
    """

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.is_complete = False
        self.same_failures = 0
        self.last_failure: str | None = None

    @property
    def used_up(self) -> bool:
        """Whether no trial will be given out any more."""
        return self.is_complete or self.hopeless or self.overdue

    @property
    def hopeless(self) -> bool:
        """Whether the last trials all failed with the same error."""
        return self.same_failures >= MAX_SAME_FAILURES

    @property
    def overdue(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def ended(self, result: TrialResult) -> None:
        """Takes note of a trial's end."""
        if result.outcome == "failed":
            self.same_failures = self.same_failures + 1 if result.reason == self.last_failure else 1
            self.last_failure = result.reason
        elif result.outcome != "interrupted":
            self.same_failures, self.last_failure = 0, None
