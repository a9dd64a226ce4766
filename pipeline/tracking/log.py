"""A study's log in MLflow, written by a process of its own: neither trials nor their supervisor wait for it.

The process reads from the storage what has ended. Through a pipe come only trials that run for so long that one may
want to watch them; whatever is lost there, or with the process, the storage has.
"""

import contextlib
import multiprocessing
import os
import select
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.core.errors import DnntuneError, TrackingError
from pipeline.core.processes.main_module import main_runs_once
from pipeline.core.stores.urls import hide
from pipeline.core.workspace import Workspace
from pipeline.plugins.loading import Plugin, load, loaded_plugins
from pipeline.records.events import EpochEnded, Event, TrialEnded, TrialStarted
from pipeline.storage.open import quiet_optuna
from pipeline.tracking.log_writer import FLUSH_SECONDS, LogWriter
from pipeline.tracking.retry import is_transient
from pipeline.tracking.store import Opened, open_experiment

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

# A study ends so long after its last trial, whatever MLflow does.
END_SECONDS = 9.0
# How often what has ended is written; after an error, how long until the next try.
ROUND_SECONDS, PAUSE_SECONDS = 2.0, 5.0
# A log process that dies is started again, but not more often than this.
RESTART_SECONDS = 5.0
# Trainings come first: beside two of them the log has about a quarter of a core (see nice(2)).
NICENESS = 5
# Not the workers' fork server, which may be killed without the log.
CONTEXT = multiprocessing.get_context("spawn")

BEGIN, END = "begin", "end"


class Writer(NamedTuple):
    """By which name the lease is held, and whether it is taken from whoever has it; see `pipeline.storage.lease`."""

    holder: str
    seize: bool


class State(NamedTuple):
    """How many trials are not written, what MLflow said last if it refused something, and whether that is final."""

    num_left: int
    error: str | None
    is_final: bool


class StudyLog:
    """The supervisor's side.

    Args:
        workspace: Which store and experiment.
        study: The study's name.
        is_alone: Whether no other process runs the study: one that wrote has died.
    """

    def __init__(self, workspace: Workspace, study: str, *, is_alone: bool) -> None:
        self.workspace, self.study = workspace, study
        self._writer = Writer(uuid.uuid4().hex, seize=is_alone)
        self._is_open = self._has_begun = False
        self._started: dict[int, tuple[float, list[Event]]] = {}  # short so far: since when, and what they told
        self._watched: set[int] = set()
        self._start()

    def begin(self) -> None:
        """Begins, when the study is in its storage. Nobody waits until MLflow is open, see `tick`."""
        self._has_begun = True
        self._send(BEGIN)

    def tick(self) -> None:
        """Looks after the process; to be called a few times a second.

        Raises:
            TrackingError: The store could not be opened when the process first asked; trials that run meanwhile are in
                the storage. What happens to it later ends no study.
        """
        if not self._is_open and self._connection.poll():
            with contextlib.suppress(EOFError, ConnectionResetError):  # killed: another one takes its place
                if (error := self._connection.recv()) is not None:
                    self._has_begun = False
                    raise TrackingError(error)
                self._is_open = True
        if not self.process.is_alive() and time.monotonic() - self.born > RESTART_SECONDS:
            self._restart()

    def event(self, event: Event) -> None:
        """Passes on what a trial tells that runs for long; costs nothing for others."""
        if isinstance(event, TrialStarted):
            self._started[event.number] = (time.monotonic(), [event])
        elif isinstance(event, EpochEnded) and event.number in self._started:
            since, told = self._started[event.number]
            told.append(event)
            if time.monotonic() - since >= FLUSH_SECONDS:
                del self._started[event.number]
                self._watched.add(event.number)
                for each in told:
                    self._send(each)
        elif isinstance(event, TrialEnded):
            self._started.pop(event.number, None)
            if event.number in self._watched:
                self._watched.remove(event.number)
                self._send(event)
        elif isinstance(event, EpochEnded) and event.number in self._watched:
            self._send(event)

    def close(self) -> str | None:
        """Waits until all is written, for `END_SECONDS` at most; returns what is missing, in a line."""
        if not self._has_begun:
            self.kill()
            return None
        ends = time.monotonic() + END_SECONDS
        if not self.process.is_alive():
            self._restart()
        state = State(0, "MLflow has not answered", is_final=False)
        self._send((END, END_SECONDS))
        while not state.is_final and self._connection.poll(max(ends - time.monotonic(), 0.0)):
            try:
                match self._connection.recv():
                    case State() as state:
                        pass
                    case str() as error:
                        state = State(0, error, is_final=True)
                    case None:  # it has opened the store
                        pass
            except (EOFError, ConnectionResetError):  # killed: another one writes the rest
                self._restart()
                self._send((END, max(ends - time.monotonic(), 0.0)))
        self.process.join(max(ends - time.monotonic(), 0.0))  # it draws the best trial's figure
        self.kill()
        if state.is_final and state.num_left == 0 and state.error is None:
            return None
        which = "MLflow lacks a part of the study"
        if state.num_left:
            which = f"{state.num_left} trial{'s are' if state.num_left > 1 else ' is'} not in MLflow yet"
        return which if state.error is None else f"{which}: {state.error}"

    def kill(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.join()
        self._connection.close()

    def _start(self) -> None:
        self._connection, theirs = CONTEXT.Pipe()
        self.process: BaseProcess = CONTEXT.Process(
            target=run_log,
            args=(loaded_plugins(), self.workspace, self.study, self._writer, theirs),
            name="dnntune-log",
            daemon=True,
        )
        with main_runs_once():
            self.process.start()
        theirs.close()
        self.born = time.monotonic()

    def _restart(self) -> None:
        self.kill()
        self._start()
        self._watched.clear()
        if self._has_begun:
            self._send(BEGIN)

    def _send(self, what: Any) -> None:
        """Sends, unless the process is so far behind, or so still, that a supervisor would wait for it."""
        if not isinstance(what, Event) or select.select([], [self._connection], [], 0.0)[1]:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._connection.send(what)


def run_log(
    plugins: tuple[Plugin, ...], workspace: Workspace, study: str, writer: Writer, connection: "Connection[Any, Any]"
) -> None:
    """Is the process that logs. It ends when it has written all, or is told nothing any more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the supervisor answers these, and what has ended is still written
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    quiet_optuna()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            load(plugins)
            opened = open_experiment(workspace)
        except DnntuneError as error:
            connection.send(str(error))
            return
        connection.send(None)
        try:
            if connection.recv() == BEGIN:
                _log(workspace, study, opened, writer, connection)
        except EOFError:
            return


def _log(workspace: Workspace, study: str, opened: Opened, writer: Writer, connection: "Connection[Any, Any]") -> None:
    log_writer: LogWriter | None = None
    reason: str | None = None
    next_round, ends, has_begun, is_ending = 0.0, float("inf"), False, False
    while time.monotonic() < ends:
        try:
            if log_writer is None:
                log_writer = LogWriter(workspace, study, opened, alive=True, holder=writer.holder, seize=writer.seize)
            while connection.poll(0.0 if is_ending else max(0.0, min(next_round - time.monotonic(), ROUND_SECONDS))):
                match _receive(connection):
                    case (_, seconds):
                        is_ending, ends = True, time.monotonic() + seconds
                        log_writer.stop_hearing()
                        break
                    case event:
                        log_writer.hear(event)
            if is_ending:
                if log_writer.lease.ask_now():
                    log_writer.write(until=ends)
                else:
                    log_writer.count_left()  # the process that writes goes on, or has died
                reason = None if log_writer.error is None else _line(log_writer.error)
                if log_writer.num_left == 0:
                    log_writer.write_study()
                    log_writer.lease.release()
                    connection.send(State(0, reason, is_final=True))
                    log_writer.draw_best()
                    return
                connection.send(State(log_writer.num_left, reason, is_final=False))
                time.sleep(0.0 if log_writer.lease.is_held else 0.5)
            elif time.monotonic() >= next_round:
                next_round = time.monotonic() + ROUND_SECONDS
                log_writer.write(until=next_round)
                if not has_begun:
                    log_writer.begin_study()
                    has_begun = True
        except Exception as error:  # told at the end: a study is worth more than its log
            reason = _line(error)
            if is_ending:
                is_final = not is_transient(error)
                connection.send(State(0 if log_writer is None else log_writer.num_left, reason, is_final))
                if is_final:
                    return
                time.sleep(0.5)
            next_round = time.monotonic() + PAUSE_SECONDS


def _receive(connection: "Connection[Any, Any]") -> Any:
    """Returns what the supervisor says; that it is dead means that the study has ended here."""
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        return END, END_SECONDS


def _line(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return hide(text.splitlines()[0])
