"""Processes that begin a job at the same moment."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self


@dataclass(frozen=True)
class Timed:
    """A job that is done: when it began (Unix time), how many seconds the slowest took, and what each returned."""

    began: float
    seconds: float
    results: list[Any]


class Crew:
    """Fresh processes; use it as a context.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections, self._processes = [], []
        for _ in range(size):
            ours, theirs = context.Pipe()
            # No daemon: it may have processes of its own, as a study has.
            self._processes.append(context.Process(target=_serve, args=(theirs,)))
            self._processes[-1].start()
            theirs.close()
            self._connections.append(ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for connection, process in zip(self._connections, self._processes, strict=True):
            connection.close()
            if error[0] is not None:
                process.terminate()
            process.join()

    def timed(self, prepare: Callable[..., Callable[[], Any]], arguments: Sequence[tuple[Any, ...]]) -> Timed:
        """Times a job.

        Args:
            prepare: Opens and loads what is needed, and returns the job.
            arguments: Those of ``prepare``, for each process that takes part.
        """
        members = self._connections[: len(arguments)]
        for connection, each in zip(members, arguments, strict=True):
            connection.send((prepare, each))
        for connection in members:
            connection.recv()
        began, clock = time.time(), time.perf_counter()
        for connection in members:
            connection.send(True)
        results = [connection.recv() for connection in members]
        return Timed(began, time.perf_counter() - clock, results)


def _serve(connection: Connection) -> None:
    while True:
        try:
            prepare, arguments = connection.recv()
        except EOFError:
            return
        job = prepare(*arguments)
        connection.send(True)
        connection.recv()
        connection.send(job())
