"""Worker processes on this machine, and what passes through the pipe to any worker."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pipeline.core.errors import StudyError
from pipeline.core.processes.interrupts import SIGNALS
from pipeline.core.processes.main_module import main_runs_once
from pipeline.core.processes.process_tree import adopt_orphans
from pipeline.core.retry import call_with_retry
from pipeline.core.stores.urls import hide
from pipeline.records.events import Event, TrialRequested, WorkerOverLimit
from pipeline.workers.launchers.launcher import Launcher, Process
from pipeline.workers.task import SupervisorGoneError, Task

# Workers are forked from one process that has imported all that they need, and has neither CUDA nor threads, which
# would not survive a fork: the first takes seconds to start, and the others, or one that replaces it, none.
_CONTEXT = multiprocessing.get_context("forkserver")
# What it imports, so that its workers need not.
PRELOAD = ["pipeline.workers.launchers.fork_server", "pipeline.workers.worker"]
# How long it is tried to start a worker whose fork server has been killed.
START_SECONDS = 20.0
WHAT = "worker processes cannot be started"
# What multiprocessing takes for an exit code when it cannot know it.
_LOST = 255


@dataclass
class Worker:
    """The supervisor's view of a worker.

    Attributes:
        task: What it was given.
        process: Its process.
        connection: The supervisor's end of the pipe.
        trial: Number of the trial that it runs.
        ready: Whether it has loaded its data.
        stop_sent: Whether it has been told to end.
        over_limit: What it is about to end itself for.
    """

    task: Task
    process: Process
    connection: "Connection[bool, Event]"
    trial: int | None = None
    ready: bool = False
    stop_sent: bool = False
    over_limit: WorkerOverLimit | None = None

    def reply(self, go_on: bool) -> None:
        """Answers its wish for a trial; False also stops a trial that runs."""
        if self.stop_sent:
            return
        self.stop_sent = not go_on
        # If it has died, its end is noticed where events are read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(go_on)


def start_worker(task: Task, launcher: Launcher) -> Worker:
    """Starts a worker."""
    return Worker(task, *launcher.start(task))


class LocalLauncher:
    """Starts workers as processes of this machine.

    Any process may be killed at any moment, and the fork server is one: another one takes its place. Its workers live
    on without it; they become children of this process.
    """

    def __init__(self) -> None:
        self.started: list[_LocalProcess] = []

    def prepare(self, task: Task) -> None:
        # timm, which perceptrons do without
        backbones = ["pipeline.models.backbones.backbone"] if task.backbones else []
        _CONTEXT.set_forkserver_preload([*PRELOAD, *backbones])
        adopt_orphans()
        # It says that it has been started again, and nobody who tunes networks knows what it is.
        warnings.filterwarnings("ignore", message="resource_tracker: process died unexpectedly")
        resource_tracker.ensure_running()  # here: it would let signals through again
        with _signals_wait():
            forkserver.ensure_running()

    def start(self, task: Task) -> "tuple[Process, Connection[bool, Event]]":
        try:
            return call_with_retry(functools.partial(self._start, task), (EOFError, OSError), START_SECONDS, what=WHAT)
        except (EOFError, OSError) as error:
            raise StudyError(
                f"{WHAT}, tried for {START_SECONDS:g} s: {type(error).__name__}: "
                f"{str(error) or 'the process that forks them was killed'}. "
                "Does the machine have enough memory, and may it have more processes (ulimit -u)?"
            ) from None

    def _start(self, task: Task) -> "tuple[Process, Connection[bool, Event]]":
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=run_worker, args=(task, theirs), name=f"dnntune-worker-{task.worker}", daemon=True
        )
        with theirs:
            try:
                self.prepare(task)
                with main_runs_once():
                    process.start()
                assert process.pid is not None
                self.started.append(_LocalProcess(process, os.pidfd_open(process.pid)))
            except (EOFError, OSError):
                ours.close()  # a worker that did come to be ends when it finds nobody there
                raise
        return self.started[-1], ours

    def close(self) -> None:
        for process in self.started:
            process.kill()
        adopt_orphans(False)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Has processes that are started here never hear Ctrl-C or SIGTERM.

    Both often reach the whole group of processes, and only the supervisor answers them. Here they are only late.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _LocalProcess:
    """A worker's process.

    Args:
        process: What multiprocessing knows of it: nothing that is true, once the fork server is dead.
        fd: Stands for the process, and tells when it ends.
    """

    def __init__(self, process: BaseProcess, fd: int) -> None:
        self.process = process
        self.fd: int | None = fd
        self.cause: str | None = None

    def kill(self) -> None:
        if self.fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.fd, signal.SIGKILL)

    def join(self) -> str | None:
        if self.fd is not None:
            wait([self.fd])
            os.close(self.fd)
            self.fd = None
            self.cause = _cause(self._exit_code())
        return self.cause

    def _exit_code(self) -> int | None:
        """Returns how it ended, which the fork server tells; None if nobody can."""
        self.process.join()
        if self.process.exitcode != _LOST:
            return self.process.exitcode
        try:
            assert self.process.pid is not None
            return os.waitstatus_to_exitcode(os.waitpid(self.process.pid, 0)[1])
        except ChildProcessError:  # it ended before its fork server did
            return None


def _cause(code: int | None) -> str | None:
    if code is None:
        return "died together with the process that had forked it"
    if code == 0:
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
        self.emit(TrialRequested())
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise SupervisorGoneError from None

    def stopping(self) -> bool:
        # The supervisor never speaks while a trial runs, except to stop it.
        return self.connection.poll()


def run_worker(task: Task, connection: "Connection[Event, bool]") -> None:
    """Works on a task until the supervisor has no more trials, or is gone.

    Raises:
        RuntimeError: In place of an error whose text has a secret: what a worker raises is printed, and Ray keeps it in
            its logs and in its list of tasks.
    """
    from pipeline.workers.worker import work  # torch is imported here, in the worker

    try:
        work(task, PipeChannel(connection))
    except SupervisorGoneError:
        return
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        if hide(told) == told:
            raise
        hidden = RuntimeError(f"{type(error).__name__}: {hide(str(error))}")
        raise hidden.with_traceback(error.__traceback__) from None
