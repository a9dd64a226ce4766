"""Where workers run: the seam between the supervisor, and processes on this machine or on a cluster."""

from typing import TYPE_CHECKING, Protocol

from pipeline.workers.task import Task

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pipeline.records.events import Event


class Process(Protocol):
    """A worker's process, wherever it runs."""

    def kill(self) -> None:
        """Ends it at once; returns without waiting."""

    def join(self) -> str | None:
        """Waits for its end; returns what ended it in words, or None if it ended by itself."""


class Launcher(Protocol):
    """Starts workers."""

    def prepare(self, task: Task) -> None:
        """Begins what a first worker would have to wait for, and returns at once.

        Raises:
            StudyError: No worker can ever run.
        """

    def start(self, task: Task) -> "tuple[Process, Connection[bool, Event]]":
        """Starts one; returns at once, with the supervisor's end of a pipe to it.

        Raises:
            StudyError: It can never run, or cannot be started.
        """

    def close(self) -> None:
        """Gives back what the launcher holds, after the last worker has ended."""
