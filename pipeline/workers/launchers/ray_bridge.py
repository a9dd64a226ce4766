"""Between a supervisor and a worker that runs as a task of Ray: their messages, and how the worker ends.

Messages wait in mailboxes, which an actor of Ray keeps on the supervisor's node: whoever may use the cluster may send,
and nobody else. A thread here carries them between the actor and the pipe that the supervisor knows: its end must exist
at once, while a task may wait long for a free CPU.
"""

import concurrent.futures
import contextlib
import itertools
import threading
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any

from pipeline import __version__
from pipeline.core.printing import print_line
from pipeline.records.events import WorkerFailed
from pipeline.workers.launchers.ray_worker import MARK, POLL_SECONDS

if TYPE_CHECKING:
    from pipeline.records.events import Event

# After which a worker that has gone silent counts as dead, though Ray has not said so: Ray itself needs up to a minute.
LOST_SECONDS = 90.0
# Ray's exceptions, in our words.
_ENDS = {
    "WorkerCrashedError": "its process died",
    "NodeDiedError": "its node died",
    "OutOfMemoryError": "its node ran out of memory",
    "TaskCancelledError": "cancelled",
}
_numbers = itertools.count()


def mailboxes() -> type:
    """Returns the actor's class; Ray sends it by value, so that no node has to find this module for it."""
    import asyncio
    import collections

    class Mailboxes:
        """Messages that wait for whoever reads them, in their order."""

        def __init__(self) -> None:
            self.boxes: dict[str, asyncio.Queue[bytes]] = collections.defaultdict(asyncio.Queue)

        async def put(self, box: str, message: bytes) -> None:
            self.boxes[box].put_nowait(message)

        async def get(self, box: str, seconds: float) -> list[bytes]:
            """Returns all that waits in a box; where it is empty, what comes first within so many seconds."""
            queue, messages = self.boxes[box], []
            if queue.empty() and seconds > 0:
                with contextlib.suppress(TimeoutError):
                    messages.append(await asyncio.wait_for(queue.get(), seconds))
            while not queue.empty():
                messages.append(queue.get_nowait())
            return messages

    return Mailboxes


def start_mailboxes() -> Any:
    """Starts the actor on this node; returns its handle."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(mailboxes()).options(scheduling_strategy=here).remote()


def submit(remote: Any, payload: bytes, post: Any) -> "tuple[RayProcess, Connection[bool, Event]]":
    """Queues a task; returns it with the supervisor's end of a pipe to it.

    Args:
        remote: What `remote_function` returns, as Ray's, with what it takes of a node.
        payload: A function of a task and a connection, and the task; pickled.
        post: The handle of the actor that keeps the mailboxes.
    """
    box = f"worker-{next(_numbers)}"
    process = RayProcess(remote.remote(payload, post, box, __version__))
    ours, theirs = Pipe()
    threading.Thread(target=_carry, args=(process, post, box, theirs), name="dnntune-ray", daemon=True).start()
    return process, ours


class RayProcess:
    """A worker's task; a `pipeline.workers.launchers.launcher.Process`."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference
        self.future: concurrent.futures.Future[str | None] = reference.future()
        self.is_spared = False  # told to end before it had begun

    def kill(self) -> None:
        import ray

        if ray.is_initialized():  # else it has ended with its cluster, and Ray would start a new one
            ray.cancel(self.reference, force=True)

    def join(self) -> str | None:
        if not concurrent.futures.wait([self.future], LOST_SECONDS).done:
            return f"was killed (Ray: no word of it for {LOST_SECONDS:g} s)"
        error = self.future.exception()
        if error is None or self.is_spared:
            return None
        if (raised := _raised(error)) is not None:
            return f"failed with {type(raised).__name__}: {raised}"
        return f"was killed (Ray: {_ENDS.get(type(error).__name__, type(error).__name__)})"


def _raised(error: BaseException | None) -> BaseException | None:
    """Returns what the worker itself raised, if it ended with that."""
    from ray.exceptions import RayTaskError

    return error.cause if isinstance(error, RayTaskError) else None


def _carry(process: RayProcess, post: Any, box: str, theirs: "Connection[Any, Any]") -> None:
    """Carries what passes between a worker and its supervisor, whose pipe it closes when the task has ended."""
    from ray.exceptions import RayError

    with theirs, contextlib.suppress(OSError, RayError):  # the supervisor, or the cluster, may be gone
        if not _carry_until_end(process, post, box, theirs):
            return
        error = process.future.exception()
        if error is None and (refusal := process.future.result()) is not None:
            theirs.send(WorkerFailed(refusal))
        elif _raised(error) is not None:
            print_line(error, err=True)  # its traceback, which a worker on this machine would print itself


def _carry_until_end(process: RayProcess, post: Any, box: str, theirs: "Connection[Any, Any]") -> bool:
    """Carries messages both ways; returns whether the task has ended, or else the supervisor has left."""
    received, sent = f"{box}-to-worker", f"{box}-from-worker"
    has_begun = False
    woken, wake = Pipe(duplex=False)

    def ask() -> "concurrent.futures.Future[list[bytes]]":
        answer: concurrent.futures.Future[list[bytes]] = post.get.remote(sent, POLL_SECONDS).future()
        answer.add_done_callback(ring)
        return answer

    def ring(_: Any) -> None:
        with contextlib.suppress(OSError):  # nobody waits any more
            wake.send_bytes(MARK)

    with woken, wake:
        process.future.add_done_callback(lambda _: post.put.remote(sent, MARK))
        answer = ask()
        while True:
            ready = wait([theirs, woken])
            if woken in ready:
                woken.recv_bytes()
                has_ended = process.future.done()
                messages = answer.result()
                if has_ended:  # all that it has said is there by now
                    messages += post.get.remote(sent, 0).future().result()
                has_begun = has_begun or bool(messages)
                for message in filter(None, messages):
                    theirs.send_bytes(message)
                if has_ended:
                    return True
                answer = ask()
            if theirs in ready:
                try:
                    message = theirs.recv_bytes()
                except (EOFError, OSError):
                    message = MARK
                if not has_begun:  # a supervisor has nothing to say to such a worker but that it should end
                    process.is_spared = True
                    process.kill()
                post.put.remote(received, message)
                if message == MARK:
                    return False
