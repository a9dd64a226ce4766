"""A trial's limits, watched from within its process: what it may take of time and memory."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.records.events import Event, WorkerOverLimit
from pipeline.workers.task import SupervisorGoneError

POLL_SECONDS = 0.5
# By how much a trial may pass its time limit to finish its epoch.
TIME_LIMIT_FACTOR = 1.5
# A worker that ends itself does so with this code.
EXIT_CODE = 86


class Watchdog:
    """Ends the process in the middle of a trial that passes a limit; says so before.

    Args:
        emit: Tells the supervisor; must be safe to call from a thread.
        seconds: Time that a trial may take, here half as long again; None for any.
        gibibytes: Memory that the process may take; None for any.
    """

    def __init__(self, emit: Callable[[Event], None], seconds: float | None, gibibytes: float | None) -> None:
        self.emit, self.seconds, self.gibibytes = emit, seconds, gibibytes
        self.started: float | None = None
        if seconds is not None or gibibytes is not None:
            threading.Thread(target=self._watch, name="dnntune-watchdog", daemon=True).start()

    def trial_begins(self) -> None:
        """A trial begins: time is counted from here."""
        self.started = time.monotonic()

    def trial_ends(self) -> None:
        """No trial runs any more."""
        self.started = None

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            if (over_limit := self._over_limit()) is not None:
                with contextlib.suppress(SupervisorGoneError):
                    self.emit(over_limit)
                os._exit(EXIT_CODE)

    def _over_limit(self) -> WorkerOverLimit | None:
        """Returns what the trial has to end for."""
        if (started := self.started) is None:
            return None
        if self.seconds is not None and (seconds := time.monotonic() - started) > TIME_LIMIT_FACTOR * self.seconds:
            rule = f"its time limit of {self.seconds:g} s has passed, and its epoch had not ended after {seconds:.0f} s"
            return WorkerOverLimit("pruned", rule)
        if self.gibibytes is not None and (used := resident_gibibytes()) > self.gibibytes:
            return WorkerOverLimit(
                "failed", f"its process used {used:.2f} GiB of memory; trial_memory is {self.gibibytes:g}"
            )
        return None


def resident_gibibytes() -> float:
    """Returns the main memory that this process has, in GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30
