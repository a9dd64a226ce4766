"""Workers of this machine, whose processes and fork servers are killed."""

import multiprocessing.forkserver
import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.errors import StudyError
from pipeline.core.stores.urls import StoreUrl
from pipeline.workers.launchers import local as processes
from pipeline.workers.launchers.local import LocalLauncher, run_worker
from pipeline.workers.task import Task
from tests.processes import LONG, parents, wait_until

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def echo(_task: Task, connection: "Connection[Any, Any]") -> None:
    """A worker that says its process's id, and then what it is told."""
    connection.send(os.getpid())
    while (said := connection.recv()) is not None:
        connection.send(said)


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalLauncher]:
    monkeypatch.setattr(processes, "run_worker", echo)
    launcher = LocalLauncher()
    yield launcher
    launcher.close()


@pytest.fixture
def task() -> Task:
    settings: dict[str, Any] = dict.fromkeys(Task.__dataclass_fields__) | {"backbones": (), "plugins": ()}
    return Task(**settings)


def fork_server() -> int | None:
    return multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]


def kill_fork_server() -> None:
    pid = fork_server()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in parents())


def say(connection: "Connection[Any, Any]", message: object) -> None:
    connection.send(message)


def hear(connection: "Connection[Any, Any]") -> Any:
    assert connection.poll(LONG)
    return connection.recv()


@pytest.mark.slow
def test_a_fork_server_that_is_killed_while_a_worker_starts_is_replaced(launcher: LocalLauncher, task: Task) -> None:
    launcher.prepare(task)
    kill_fork_server()
    launcher.prepare(task)  # it now imports torch
    killer = threading.Timer(0.2, kill_fork_server)
    killer.start()
    process, connection = launcher.start(task)
    killer.join()
    hear(connection)
    say(connection, None)
    assert process.join() is None


def test_workers_outlive_their_fork_server(launcher: LocalLauncher, task: Task) -> None:
    (first, to_first), (second, to_second) = launcher.start(task), launcher.start(task)
    pid, _ = hear(to_first), hear(to_second)
    kill_fork_server()
    third, to_third = launcher.start(task)  # by another one
    hear(to_third)
    say(to_second, "alive")
    assert hear(to_second) == "alive"
    first.kill()
    assert first.join() == "was killed by SIGKILL"
    assert pid not in parents()
    say(to_second, None)
    assert second.join() is None
    third.kill()
    assert third.join() == "was killed by SIGKILL"


def test_a_resource_tracker_that_is_killed_says_nothing(
    launcher: LocalLauncher, task: Task, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher.prepare(task)
    tracker = multiprocessing.resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    os.kill(tracker, signal.SIGKILL)
    process, connection = launcher.start(task)
    hear(connection)
    say(connection, None)
    assert process.join() is None
    assert capfd.readouterr().err == ""


def test_fork_servers_that_keep_dying_end_in_an_error(
    launcher: LocalLauncher, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = multiprocessing.forkserver.connect_to_new_process
    attempts: list[Sequence[int]] = []

    def dies(fds: Sequence[int]) -> tuple[int, int]:
        """What `multiprocessing` meets where the fork server dies between its start and its answer."""
        attempts.append(fds)
        if len(attempts) % 3:
            raise EOFError
        return connect(fds)

    monkeypatch.setattr(multiprocessing.forkserver, "connect_to_new_process", dies)
    process, connection = launcher.start(task)
    assert len(attempts) == 3
    hear(connection)
    say(connection, None)
    assert process.join() is None
    monkeypatch.setattr(processes, "START_SECONDS", 0.0)
    with pytest.raises(StudyError, match="cannot be started, tried for 0 s: EOFError: the process that forks them was"):
        launcher.start(task)


def test_close_ends_workers_that_nobody_told_to_end(launcher: LocalLauncher, task: Task) -> None:
    process, connection = launcher.start(task)
    hear(connection)
    os.kill(launcher.started[0].process.pid or 0, signal.SIGTERM)  # as a service manager does: it is deaf
    say(connection, "alive")
    assert hear(connection) == "alive"
    launcher.close()
    assert process.join() == "was killed by SIGKILL"


def test_a_program_that_goes_on_adopts_nobody(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    """Whoever has run a study, such as a notebook, would have to wait for the orphans of all its later children."""
    monkeypatch.setattr(processes, "run_worker", echo)
    launcher = LocalLauncher()
    process, connection = launcher.start(task)
    connection.recv()
    launcher.close()
    process.join()
    command = ["sh", "-c", "sleep 300 > /dev/null 2>&1 & echo $!"]
    orphan = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert f"PPid:\t{os.getpid()}\n" not in Path(f"/proc/{orphan}/status").read_text()
    os.kill(orphan, signal.SIGKILL)


@pytest.mark.parametrize(("password", "kind"), [("Xq7mark", RuntimeError), ("***", ValueError)])
def test_what_a_worker_raises_has_no_password(
    monkeypatch: pytest.MonkeyPatch, task: Task, password: str, kind: type[Exception]
) -> None:
    address = StoreUrl(f"postgresql://me:{password}@db/x")

    def work(*_: object) -> None:
        try:
            raise OSError(f"{address.reveal()} refuses")
        except OSError as error:
            raise ValueError("no trial") from error

    monkeypatch.setattr("pipeline.workers.worker.work", work)
    with pytest.raises(kind, match="no trial") as raised:
        run_worker(task, None)  # type: ignore[arg-type]
    told = "".join(traceback.format_exception(raised.value))
    assert "in work" in told
    assert "Xq7mark" not in told
