"""Worker processes on this machine, and what passes through the pipe to any worker."""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pipeline.events import Event, TrialWanted, WorkerDoomed
from pipeline.study.launcher import Launcher, Process
from pipeline.study.task import SupervisorGoneError, Task

# Workers are forked from one process that has imported all that they need, and has neither CUDA nor threads, which
# would not survive a fork: the first takes seconds to start, and the others, or one that replaces it, none.
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass
class Worker:
    """The supervisor's view of a worker.

    Attributes:
        task: What it was given.
        process: Its process.
        connection: The supervisor's end of the pipe.
        trial: Number of the trial that it runs.
        ready: Whether it has loaded its data.
        told_to_stop: Whether it has been told to end.
        doom: What it is about to end itself for.
    """

    task: Task
    process: Process
    connection: "Connection[bool, Event]"
    trial: int | None = None
    ready: bool = False
    told_to_stop: bool = False
    doom: WorkerDoomed | None = None

    def tell(self, go_on: bool) -> None:
        """Answers its wish for a trial; False also stops a trial that runs."""
        if self.told_to_stop:
            return
        self.told_to_stop = not go_on
        # If it has died, its end is noticed where events are read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(go_on)


def start_worker(task: Task, launcher: Launcher) -> Worker:
    """Starts a worker."""
    return Worker(task, *launcher.start(task))


class LocalLauncher:
    """Starts workers as processes of this machine."""

    def start(self, task: Task) -> "tuple[Process, Connection[bool, Event]]":
        backbones = ["pipeline.models.backbone"] if task.backbones else []  # timm, which perceptrons do without
        _CONTEXT.set_forkserver_preload(["pipeline.study.worker", *backbones])
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=run_worker, args=(task, theirs), name=f"dnntune-worker-{task.worker}", daemon=True
        )
        with _deaf_to_ctrl_c():
            process.start()
        theirs.close()
        return _LocalProcess(process), ours

    def close(self) -> None: ...


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Gives children a deaf ear: Ctrl-C reaches the whole group of processes, and only the supervisor answers it."""
    try:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread: signals are somebody else's business
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class _LocalProcess:
    def __init__(self, process: BaseProcess) -> None:
        self.process = process

    def kill(self) -> None:
        self.process.kill()

    def join(self) -> str | None:
        self.process.join()
        code = self.process.exitcode
        if not code:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class PipeChannel:
    """The worker's end. Each worker has its own pipe, so that one that is killed blocks no other."""

    def __init__(self, connection: "Connection[Event, bool]") -> None:
        self.connection = connection
        self.sending = threading.Lock()

    def emit(self, event: Event) -> None:
        try:
            with self.sending:
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


def run_worker(task: Task, connection: "Connection[Event, bool]") -> None:
    """Works on a task until the supervisor has no more trials, or is gone."""
    from pipeline.study.worker import work  # torch is imported here, in the worker

    with contextlib.suppress(SupervisorGoneError):
        work(task, PipeChannel(connection))
