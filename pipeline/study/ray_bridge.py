"""Between a supervisor and a worker that runs as a task of Ray: what carries their messages, and how it ends.

The worker connects to its supervisor's machine by TCP, and a thread there carries the bytes on: the supervisor's end
must exist at once, while a task may wait long for a free CPU. The key that admits a worker is its task's alone; what
passes is not encrypted: as for Ray itself, the network must be one to be trusted.
"""

import concurrent.futures
import contextlib
import os
import pickle
import secrets
import socket
import struct
import sys
import threading
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Pipe, answer_challenge, deliver_challenge, wait
from typing import TYPE_CHECKING, Any

from pipeline import __version__
from pipeline.events import WorkerFailed

if TYPE_CHECKING:
    from pipeline.events import Event

Address = tuple[str, int]

POLL_SECONDS = 0.5
# For a node to connect to this machine, and for whoever connects to say who it is.
CONNECT_SECONDS = 30
# After which a worker that has gone silent counts as dead, though Ray has not said so: Ray itself needs up to a minute.
LOST_SECONDS = 90.0
# Ray's exceptions, in our words.
_ENDS = {
    "WorkerCrashedError": "its process died",
    "NodeDiedError": "its node died",
    "OutOfMemoryError": "its node ran out of memory",
    "TaskCancelledError": "cancelled",
}


def submit(remote: Any, payload: bytes, host: str) -> "tuple[RayProcess, Connection[bool, Event]]":
    """Queues a task; returns it with the supervisor's end of a pipe to it.

    Args:
        remote: What `remote_function` returns, as Ray's, with what it takes of a node.
        payload: A function of a task and a connection, and the task; pickled.
        host: Address of this machine.
    """
    listener = socket.create_server((host, 0))
    key = secrets.token_bytes(32)
    process = RayProcess(remote.remote(payload, listener.getsockname(), key, __version__))
    ours, theirs = Pipe()
    threading.Thread(target=_carry, args=(process, listener, key, theirs), name="dnntune-ray", daemon=True).start()
    return process, ours


class RayProcess:
    """A worker's task; a `pipeline.study.launcher.Process`."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference
        self.future: concurrent.futures.Future[str | None] = reference.future()
        self.is_spared = False  # told to end before it had begun

    def kill(self) -> None:
        import ray

        if ray.is_initialized():  # else it has ended with its cluster, and Ray would start a new one
            ray.cancel(self.reference, force=True)

    def join(self) -> str | None:
        if not self.ends_within(LOST_SECONDS):
            return f"was killed (Ray: no word of it for {LOST_SECONDS:g} s)"
        error = self.future.exception()
        if error is None or self.is_spared:
            return None
        if (raised := _raised(error)) is not None:
            return f"failed with {type(raised).__name__}: {raised}"
        return f"was killed (Ray: {_ENDS.get(type(error).__name__, type(error).__name__)})"

    def ends_within(self, seconds: float) -> bool:
        """Waits until it has ended, for so long."""
        return bool(concurrent.futures.wait([self.future], seconds).done)


def _raised(error: BaseException | None) -> BaseException | None:
    """Returns what the worker itself raised, if it ended with that."""
    from ray.exceptions import RayTaskError

    return error.cause if isinstance(error, RayTaskError) else None


def _carry(process: RayProcess, listener: socket.socket, key: bytes, theirs: "Connection[Any, Any]") -> None:
    """Carries what passes between a worker and its supervisor, whose pipe it closes when the task has ended."""
    with theirs:
        with listener:
            remote = _wait_for_worker(process, listener, key, theirs)
        if remote is not None:
            with remote:
                _pump(process, theirs, remote)
        if not process.ends_within(LOST_SECONDS):
            return
        error = process.future.exception()
        if error is None and (refusal := process.future.result()) is not None:
            with contextlib.suppress(OSError):  # the supervisor may be gone
                theirs.send(WorkerFailed(refusal))
        elif _raised(error) is not None:
            sys.stderr.write(f"{error}\n")  # its traceback, which a worker on this machine would print itself


def _wait_for_worker(
    process: RayProcess, listener: socket.socket, key: bytes, theirs: "Connection[Any, Any]"
) -> "Connection[Any, Any] | None":
    """Returns the connection to the worker; None if it ends before there is one."""
    while not process.future.done():
        ready = wait([listener, theirs], POLL_SECONDS)
        if theirs in ready:  # a supervisor has nothing to say to a worker that has not begun but that it should end
            process.is_spared = True
            process.kill()
            with contextlib.suppress(EOFError):
                theirs.recv_bytes()  # closing it unread would be a broken connection, and no end
            return None
        if listener in ready:
            remote = _admitted(listener.accept()[0], key)
            if remote is not None:
                return remote
    return None


def _admitted(connected: socket.socket, key: bytes) -> "Connection[Any, Any] | None":
    """Returns the connection of a worker; None if it is somebody else's."""
    remote: Connection[Any, Any] = Connection(os.dup(connected.fileno()))
    with connected:
        try:
            _limit(connected, CONNECT_SECONDS)
            deliver_challenge(remote, key)
            answer_challenge(remote, key)
            _limit(connected, 0)
        except (AuthenticationError, EOFError, OSError, AssertionError):
            remote.close()
            return None
    return remote


def _limit(connected: socket.socket, seconds: int) -> None:
    """Limits how long a read may wait; 0 for any time. A socket's own timeout would not hold for its duplicate."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))


def _pump(process: RayProcess, theirs: "Connection[Any, Any]", remote: "Connection[Any, Any]") -> None:
    """Carries messages both ways until one side is gone; what a worker said last is still carried."""
    while True:
        ready = wait([theirs, remote], POLL_SECONDS)
        try:
            if remote in ready:
                theirs.send_bytes(remote.recv_bytes())
            if theirs in ready:
                message = theirs.recv_bytes()
                with contextlib.suppress(OSError):  # if the worker is gone, its end is noticed where it is read
                    remote.send_bytes(message)
        except (EOFError, OSError):
            return
        if not ready and process.future.done():  # with its whole node, which closes no connection
            return


def remote_function() -> Callable[[bytes, Address, bytes, str], str | None]:
    """Returns what runs on a node; Ray sends it by value, so that it can say that dnntune is not there."""

    def run(payload: bytes, address: Address, key: bytes, version: str) -> str | None:
        import socket

        remedy = f"every node needs dnntune {version}: pip install 'dnntune[ray]=={version}'"
        try:
            import pipeline
            from pipeline.study.ray_bridge import serve
        except ImportError as error:
            return f"{remedy}; on {socket.gethostname()}: {error}"
        if pipeline.__version__ != version:
            return f"{remedy}; {socket.gethostname()} has {pipeline.__version__}"
        return serve(payload, address, key)

    return run


def serve(payload: bytes, address: Address, key: bytes) -> str | None:
    """Runs a worker on its node; returns None, or why it cannot begin.

    Args:
        payload: What it does, with its task; pickled.
        address: Where its supervisor listens.
        key: What admits it there.
    """
    node = socket.gethostname()
    try:
        run, task = pickle.loads(payload)
    except (ImportError, AttributeError) as error:
        return f"a study's Python function must stand in a module that every node has; {node} says: {error}"
    try:
        connected = socket.create_connection(address, CONNECT_SECONDS)
        connected.settimeout(None)
        connection: Connection[Event, bool] = Connection(connected.detach())
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
    except (OSError, EOFError) as error:
        host, port = address
        return f"every node must reach the machine that runs the study; {node} cannot connect to {host}:{port}: {error}"
    with connection:
        run(task, connection)
    return None
