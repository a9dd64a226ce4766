"""Worker processes: started, spoken to through a pipe each, and ended."""

import contextlib
import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pipeline.records import Event, TrialWanted
from pipeline.study.task import SupervisorGoneError, Task

# A fresh interpreter for each worker: neither CUDA nor running threads survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass
class WorkerProcess:
    """The supervisor's view of a worker.

    Attributes:
        task: What it was given.
        process: The process.
        connection: The supervisor's end of the pipe.
        busy: Whether it has been given a trial that has not ended.
        trial: Number of that trial, once it is known.
        ready: Whether it has loaded its data.
        told_to_stop: Whether it has been told to end.
    """

    task: Task
    process: BaseProcess
    connection: "Connection[bool, Event]"
    busy: bool = False
    trial: int | None = None
    ready: bool = False
    told_to_stop: bool = False

    def tell(self, go_on: bool) -> None:
        """Answers its wish for a trial; False also stops a trial that runs."""
        if self.told_to_stop:
            return
        self.told_to_stop = not go_on
        # If it has died, its end is noticed where events are read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(go_on)

    @property
    def cause_of_death(self) -> str:
        """How the process ended, in words."""
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its worker was killed by {signal.Signals(-code).name}"
        return f"its worker ended with exit code {code}"


def start_worker(task: Task) -> WorkerProcess:
    """Starts a worker in a process of its own."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_run, args=(task, theirs), name=f"dnntune-worker-{task.worker}", daemon=True)
    # Ctrl-C reaches the whole group of processes, and only the supervisor answers it: children inherit its deaf ear.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    theirs.close()
    return WorkerProcess(task, process, ours)


class _PipeChannel:
    """The worker's end. Each worker has its own pipe, so that one that is killed blocks no other."""

    def __init__(self, connection: "Connection[Event, bool]") -> None:
        self.connection = connection

    def emit(self, event: Event) -> None:
        try:
            self.connection.send(event)
        except (BrokenPipeError, ConnectionResetError):
            raise SupervisorGoneError from None

    def wait_for_trial(self) -> bool:
        self.emit(TrialWanted())
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise SupervisorGoneError from None

    def stopping(self) -> bool:
        # The supervisor never speaks while a trial runs, except to stop it.
        return self.connection.poll()


def _run(task: Task, connection: "Connection[Event, bool]") -> None:
    from pipeline.study.worker import work  # torch is imported here, in the worker

    with contextlib.suppress(SupervisorGoneError):
        work(task, _PipeChannel(connection))
