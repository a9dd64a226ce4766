"""What carries a Ray worker's messages: the actor's own class on an event loop here, and the worker in a thread."""

import asyncio
import importlib.util
import pickle
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import __version__
from pipeline.records.events import WorkerFailed
from pipeline.workers.launchers.ray_bridge import RayProcess, mailboxes, submit
from pipeline.workers.launchers.ray_worker import remote_function, serve
from tests.workers.launchers.test_ray_launcher import PATIENCE, assert_closed, hear, say

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'dnntune[ray]'"
)


class Reference:
    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def future(self) -> "Future[Any]":
        return self._future


class Method:
    def __init__(self, method: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.method, self.loop = method, loop

    def remote(self, *arguments: Any) -> Reference:
        return Reference(asyncio.run_coroutine_threadsafe(self.method(*arguments), self.loop))


class Post:
    """Stands for the actor's handle."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        actor = mailboxes()()
        self.put, self.get = Method(actor.put, loop), Method(actor.get, loop)


@pytest.fixture
def post() -> Iterator[Post]:
    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield Post(loop)
    asyncio.run_coroutine_threadsafe(end(), loop).result(PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


class Submitted:
    """Stands for Ray: keeps what was submitted."""

    def remote(self, payload: bytes, post: Post, box: str, version: str) -> Reference:
        self.arguments, self.version, self.ended = (payload, post, box), version, Future[str | None]()
        return Reference(self.ended)

    def work(self) -> None:
        self.ended.set_result(serve(*self.arguments))


def converse(task: str, connection: "Connection[Any, Any]") -> None:
    assert not connection.poll()
    connection.send(task)
    for _ in range(3):
        connection.send(connection.recv() + 1)
    connection.send("last word")


def test_messages_pass_in_their_order_and_the_last_one_before_the_end(post: Post) -> None:
    ray = Submitted()
    process, connection = submit(ray, pickle.dumps((converse, "hello")), post)
    worker = threading.Thread(target=ray.work, daemon=True)
    worker.start()
    assert hear(connection) == "hello"
    for number in range(3):
        say(connection, number)
        assert hear(connection) == number + 1
    assert hear(connection) == "last word"
    assert_closed(connection)
    assert process.join() is None
    worker.join(PATIENCE)


def wait_for_the_end(_told: "list[str]", connection: "Connection[Any, Any]") -> None:
    connection.send("here")
    for _ in range(2):  # whoever asks again is told again
        with pytest.raises(EOFError):
            connection.recv()
    assert connection.poll()


def test_a_worker_hears_that_its_supervisor_is_gone(post: Post) -> None:
    ray = Submitted()
    process, connection = submit(ray, pickle.dumps((wait_for_the_end, [])), post)
    threading.Thread(target=ray.work, daemon=True).start()
    assert hear(connection) == "here"
    connection.close()
    assert process.join() is None


def test_two_workers_have_boxes_of_their_own(post: Post) -> None:
    workers = [Submitted(), Submitted()]
    connections = [submit(ray, pickle.dumps((converse, "hello")), post)[1] for ray in workers]
    assert workers[0].arguments[2] != workers[1].arguments[2]
    for connection in connections:
        connection.close()


def test_a_function_that_the_node_does_not_have(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("def run(task, connection): ...", module.__dict__)
    ray = Submitted()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "only_here", module)
        process, connection = submit(ray, pickle.dumps((module.run, "hello")), post)
    ray.work()
    event = hear(connection)
    assert isinstance(event, WorkerFailed)
    assert "must stand in a module that every node has" in event.message
    assert "No module named 'only_here'" in event.message
    assert_closed(connection)
    assert process.join() is None


def test_a_silent_worker_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.workers.launchers.ray_bridge.LOST_SECONDS", 0.01)
    ray = Reference(Future())
    assert RayProcess(ray).join() == "was killed (Ray: no word of it for 0.01 s)"


def test_a_node_without_dnntune_or_with_another_one() -> None:
    assert f"needs dnntune 0.0.0: pip install 'dnntune[ray]==0.0.0'; {socket.gethostname()} has {__version__}" in str(
        remote_function()(b"", None, "", "0.0.0")
    )
    from ray import cloudpickle

    code = """if True:
        import pickle, sys
        sys.modules["pipeline"] = None
        print(pickle.load(sys.stdin.buffer)(b"", None, "", "1.2.3"))"""
    pickled = cloudpickle.dumps(remote_function())
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True)
    assert b"every node needs dnntune 1.2.3" in done.stdout
