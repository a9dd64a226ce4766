"""Logging in a thread of its own, so that giving out trials never waits for a database or a server."""

import functools
import queue
import threading
from collections.abc import Callable

from pipeline.events import Event
from pipeline.tracking.patience import persist

# A server that is gone for longer than this is not being restarted.
GIVE_UP_SECONDS = 600.0
# At the end of a study somebody waits: so long without any event being logged.
CLOSE_SECONDS = 60.0


class BackgroundLog:
    """Hands events to a function in a thread, one after the other.

    If the function raises, it is called again after a while, if the error is one that may pass. Otherwise, or if it
    goes on for too long, logging stops and the study goes on: a night's trials are worth more than their log. The error
    is kept.

    Args:
        handle: Called with each event, and with the same event again after an error.

    Attributes:
        error: What stopped it, if anything did.
    """

    def __init__(self, handle: Callable[[Event], None]) -> None:
        self.handle = handle
        self.error: Exception | None = None
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._last_error: Exception | None = None  # of the event that is being tried
        self._num_logged = 0
        self._given_up = threading.Event()
        self.thread = threading.Thread(target=self._run, name="dnntune-tracking", daemon=True)
        self.thread.start()

    def put(self, event: Event) -> None:
        """Takes an event, and returns at once."""
        self.events.put(event)

    def close(self) -> None:
        """Waits until everything that was put is handled, as long as that gets on; else the rest is dropped."""
        self.events.put(None)
        num_logged = -1
        while self.thread.is_alive() and num_logged != self._num_logged:
            num_logged = self._num_logged
            self.thread.join(CLOSE_SECONDS)
        if self.thread.is_alive():
            self._given_up.set()
            self.error = self._last_error or TimeoutError(f"MLflow has not answered for {CLOSE_SECONDS:.0f} seconds")

    def _run(self) -> None:
        while (event := self.events.get()) is not None and not self._given_up.is_set():
            if self.error is None:
                try:
                    persist(functools.partial(self._try, event), seconds=GIVE_UP_SECONDS, wait=self._given_up.wait)
                except Exception as error:  # kept, and reported at the end of the study
                    self.error = error
                self._num_logged += 1

    def _try(self, event: Event) -> None:
        try:
            self.handle(event)
        except Exception as error:
            self._last_error = error
            raise
        self._last_error = None
