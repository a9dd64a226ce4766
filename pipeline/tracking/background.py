"""Logging in a thread of its own, so that giving out trials never waits for a database or a server."""

import queue
import threading
from collections.abc import Callable

from pipeline.records import Event


class BackgroundLog:
    """Hands events to a function in a thread, one after the other.

    If the function raises, logging stops and the study goes on: a night's trials are worth more than their log. The
    error is kept.

    Args:
        handle: Called with each event.

    Attributes:
        error: What stopped it, if anything did.
    """

    def __init__(self, handle: Callable[[Event], None]) -> None:
        self.handle = handle
        self.error: Exception | None = None
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="dnntune-tracking", daemon=True)
        self.thread.start()

    def put(self, event: Event) -> None:
        """Takes an event, and returns at once."""
        self.events.put(event)

    def close(self) -> None:
        """Waits until everything that was put is handled."""
        self.events.put(None)
        self.thread.join()

    def _run(self) -> None:
        while (event := self.events.get()) is not None:
            if self.error is None:
                try:
                    self.handle(event)
                except Exception as error:  # kept, and reported at the end of the study
                    self.error = error
