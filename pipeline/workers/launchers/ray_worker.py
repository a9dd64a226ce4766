"""A worker as a task of Ray, on its node: how it begins, and its end of the mailboxes (`ray_bridge` has the other)."""

import pickle
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

# How long one request waits for messages before it is made anew.
POLL_SECONDS = 30.0
# Each side's first or last word: a worker's that it has begun, a supervisor's that it has nothing more to say.
MARK = b""


class MailboxConnection:
    """A worker's end: as much of a `multiprocessing.connection.Connection` as a worker uses.

    It never calls ``ray.get``: Ray would take a task that waits there for idle, and give its CPUs to another one.
    """

    def __init__(self, post: Any, box: str) -> None:
        self.post, self.received, self.sent = post, f"{box}-to-worker", f"{box}-from-worker"
        self.waiting: deque[bytes] = deque()
        self._put(MARK)

    def send(self, message: Any) -> None:
        """Sends anything that can be pickled.

        Raises:
            BrokenPipeError: The supervisor is gone.
        """
        self._put(pickle.dumps(message))

    def recv(self) -> Any:
        """Waits for a message.

        Raises:
            EOFError: The supervisor is gone.
        """
        while not self.poll(POLL_SECONDS):
            pass
        if self.waiting[0] == MARK:  # it stays: whoever asks again is told again
            raise EOFError
        return pickle.loads(self.waiting.popleft())

    def poll(self, seconds: float = 0.0) -> bool:
        """Returns whether there is a message, or an end, after waiting so long for one."""
        from ray.exceptions import RayError

        if not self.waiting:
            try:
                self.waiting += self.post.get.remote(self.received, seconds).future().result()
            except RayError:
                self.waiting.append(MARK)
        return bool(self.waiting)

    def _put(self, message: bytes) -> None:
        from ray.exceptions import RayError

        try:
            self.post.put.remote(self.sent, message).future().result()
        except RayError:
            raise BrokenPipeError from None


def remote_function() -> Callable[[bytes, Any, str, str], str | None]:
    """Returns what runs on a node; Ray sends it by value, so that it can say that dnntune is not there."""

    def run(payload: bytes, post: Any, box: str, version: str) -> str | None:
        import socket

        remedy = f"every node needs dnntune {version}: pip install 'dnntune[ray]=={version}'"
        try:
            import pipeline
            from pipeline.workers.launchers.ray_worker import serve
        except ImportError as error:
            return f"{remedy}; on {socket.gethostname()}: {error}"
        if pipeline.__version__ != version:
            return f"{remedy}; {socket.gethostname()} has {pipeline.__version__}"
        return serve(payload, post, box)

    return run


def serve(payload: bytes, post: Any, box: str) -> str | None:
    """Runs a worker on its node; returns None, or why it cannot begin.

    Args:
        payload: What it does, with its task; pickled.
        post: The handle of the actor that keeps the mailboxes.
        box: The worker's name there.
    """
    try:
        run, task = pickle.loads(payload)
    except (ImportError, AttributeError) as error:
        node = socket.gethostname()
        return f"a study's Python function must stand in a module that every node has; {node} says: {error}"
    run(task, MailboxConnection(post, box))
    return None
