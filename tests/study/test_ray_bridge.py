"""What carries a Ray worker's messages: without Ray, the worker in a thread."""

import importlib.util
import pickle
import socket
import subprocess
import sys
import threading
import types
from concurrent.futures import Future
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from typing import Any

import pytest

from pipeline import __version__
from pipeline.events import WorkerFailed
from pipeline.study.ray_bridge import RayProcess, remote_function, serve, submit
from tests.study.test_ray_launcher import PATIENCE, assert_closed, hear

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'dnntune[ray]'"
)


class Submitted:
    """Stands for Ray: keeps what was submitted."""

    def remote(self, payload: bytes, address: tuple[str, int], key: bytes, version: str) -> "Submitted":
        self.arguments, self.version, self.ended = (payload, address, key), version, Future[str | None]()
        return self

    def future(self) -> "Future[str | None]":
        return self.ended

    def work(self) -> None:
        self.ended.set_result(serve(*self.arguments))


def answer(task: str, connection: "Connection[Any, Any]") -> None:
    connection.send(task)
    connection.recv()


def test_strangers_are_turned_away() -> None:
    ray = Submitted()
    process, connection = submit(ray, pickle.dumps((answer, "hello")), "127.0.0.1")
    address = ray.arguments[1]
    socket.create_connection(address).close()
    with socket.create_connection(address) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(AuthenticationError):
        Client(address, authkey=b"wrong")
    worker = threading.Thread(target=ray.work, daemon=True)
    worker.start()
    assert hear(connection) == "hello"
    connection.send(True)
    assert_closed(connection)
    assert process.join() is None
    worker.join(PATIENCE)


def test_a_function_that_the_node_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("def run(task, connection): ...", module.__dict__)
    ray = Submitted()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "only_here", module)
        process, connection = submit(ray, pickle.dumps((module.run, "hello")), "127.0.0.1")
    ray.work()
    event = hear(connection)
    assert isinstance(event, WorkerFailed)
    assert "must stand in a module that every node has" in event.message
    assert "No module named 'only_here'" in event.message
    assert_closed(connection)
    assert process.join() is None


def test_a_node_that_cannot_reach_the_supervisor() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refusal = serve(pickle.dumps((answer, "hello")), taken.getsockname(), b"key")
        port = taken.getsockname()[1]
    assert "every node must reach the machine that runs the study" in str(refusal)
    assert f"cannot connect to 127.0.0.1:{port}" in str(refusal)


def test_a_silent_worker_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.study.ray_bridge.LOST_SECONDS", 0.01)
    ray = Submitted().remote(b"", ("", 0), b"", "")
    assert RayProcess(ray).join() == "was killed (Ray: no word of it for 0.01 s)"


def test_a_node_without_dnntune_or_with_another_one() -> None:
    assert f"needs dnntune 0.0.0: pip install 'dnntune[ray]==0.0.0'; {socket.gethostname()} has {__version__}" in str(
        remote_function()(b"", ("", 0), b"", "0.0.0")
    )
    from ray import cloudpickle

    code = """if True:
        import pickle, sys
        sys.modules["pipeline"] = None
        print(pickle.load(sys.stdin.buffer)(b"", ("", 0), b"", "1.2.3"))"""
    pickled = cloudpickle.dumps(remote_function())
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True)
    assert b"every node needs dnntune 1.2.3" in done.stdout
