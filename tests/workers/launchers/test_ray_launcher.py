"""Workers on Ray: a real cluster of this machine, with tasks in the worker's place that only talk."""

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.workers.launchers.ray_launcher import RayLauncher
from pipeline.workers.task import Task
from tests.processes import command

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'dnntune[ray]'"
    ),
]
PATIENCE = 60.0


def make_task(threads: int = 1, device: str = "cpu") -> Task:
    """A task for workers that do not look at what they are to search."""
    unread: dict[str, Any] = dict.fromkeys(Task.__dataclass_fields__)
    return Task(**{**unread, "compute": Compute(threads=threads, device=device), "worker": 0, "plugins": ()})


def talker() -> Callable[[Task, Any], None]:
    """A worker that says who it is, and then what it is told, until that is None. Ray sends it by value."""

    def talk(_task: Task, connection: Any) -> None:
        import os

        connection.send((os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")))
        try:
            while (message := connection.recv()) is not None:
                if message == "raise":
                    raise KeyError("lost")
                connection.send(message)
        except EOFError:
            pass

    return talk


def say(connection: "Connection[Any, Any]", message: object) -> None:
    connection.send(message)


def hear(connection: "Connection[Any, Any]") -> Any:
    assert connection.poll(PATIENCE)
    return connection.recv()


def assert_closed(connection: "Connection[Any, Any]") -> None:
    with pytest.raises(EOFError):
        hear(connection)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node of two CPUs and one GPU, which only Ray believes in."""
    with pytest.MonkeyPatch.context() as patch:
        # It reads this once, when it is imported; an earlier test may have caused that, without a mode.
        patch.setenv("RAY_AUTH_MODE", "disabled" if "ray" in sys.modules else "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        import ray._common.utils
        import ray._private.utils
        from ray.cluster_utils import Cluster

        # Whoever looks for this machine's cluster is not to find this one.
        patch.setattr(ray._private.utils, "write_ray_address", lambda address: None)
        patch.setattr(ray._common.utils, "reset_ray_address", lambda: None)
        node = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        started = Cluster(initialize_head=True, head_node_args=node)
        yield started
        started.shutdown()


@pytest.fixture(scope="module")
def launcher(cluster: Any) -> Iterator[RayLauncher]:
    launcher = RayLauncher(cluster.address, run=talker())
    yield launcher
    launcher.close()


def test_messages_pass_both_ways_and_an_end_is_an_end(launcher: RayLauncher) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    process, connection = launcher.start(make_task())
    assert command(hear(connection)[0]).startswith("ray::run")
    for message in (False, secrets.token_bytes(1_000_000), {"epoch": 1}):
        say(connection, message)
        assert hear(connection) == message
    say(connection, None)
    assert_closed(connection)
    assert process.join() is None
    assert signal.getsignal(signal.SIGTERM) is handler  # Ray would end the program in the middle of an epoch


def test_a_worker_ends_when_its_supervisor_is_gone(launcher: RayLauncher) -> None:
    process, connection = launcher.start(make_task())
    hear(connection)
    connection.close()
    assert process.join() is None


def test_a_killed_worker_is_noticed(launcher: RayLauncher) -> None:
    process, connection = launcher.start(make_task())
    os.kill(hear(connection)[0], signal.SIGKILL)
    assert_closed(connection)
    assert process.join() == "was killed (Ray: its process died)"


def test_a_worker_can_be_killed(launcher: RayLauncher) -> None:
    process, connection = launcher.start(make_task())
    pid, _ = hear(connection)
    process.kill()
    assert_closed(connection)
    assert str(process.join()).startswith("was killed (Ray: ")
    deadline = time.monotonic() + PATIENCE
    while command(pid).startswith("ray::run"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_error_of_a_worker_is_told(launcher: RayLauncher, capfd: pytest.CaptureFixture[str]) -> None:
    process, connection = launcher.start(make_task())
    hear(connection)
    say(connection, "raise")
    assert_closed(connection)
    assert process.join() == "failed with KeyError: 'lost'"
    assert "in talk" in capfd.readouterr().err


def test_those_that_wait_for_a_cpu(launcher: RayLauncher) -> None:
    running, its_end = launcher.start(make_task(threads=2))
    hear(its_end)
    killed, first = launcher.start(make_task(threads=2))
    stopped, second = launcher.start(make_task(threads=2))
    started, third = launcher.start(make_task(threads=2))
    assert not third.poll(0.5)
    killed.kill()
    assert_closed(first)
    assert killed.join() == "was killed (Ray: cancelled)"
    second.send(False)
    assert_closed(second)
    assert stopped.join() is None
    say(its_end, None)
    assert running.join() is None
    hear(third)
    say(third, None)
    assert started.join() is None


def test_gpus_are_shared(launcher: RayLauncher) -> None:
    for device, visible in (("auto", "0"), ("cuda", "0"), ("cpu", None)):
        process, connection = launcher.start(make_task(device=device))
        assert (hear(connection)[1] or None) == visible
        say(connection, None)
        assert process.join() is None
    sharing = RayLauncher(launcher.address, workers=6)
    assert sharing.resources(make_task(device="auto"))["GPU"] == 0.1666
    with pytest.raises(StudyError, match=r"--device cuda:1 names one: use cuda"):
        launcher.start(make_task(device="cuda:1"))


def test_a_worker_that_fits_on_no_node_is_refused(launcher: RayLauncher) -> None:
    with pytest.raises(StudyError, match=r"takes 3 CPUs, and the largest node has 2 CPUs. Use fewer --threads"):
        launcher.start(make_task(threads=3))


def test_a_connection_of_the_program_itself_is_used_and_kept(launcher: RayLauncher) -> None:
    import ray

    launcher.start(make_task())[0].kill()
    guest = RayLauncher(launcher.address, run=talker())
    process, connection = guest.start(make_task())
    say(connection, None)
    assert process.join() is None
    guest.close()
    assert ray.is_initialized()


def test_a_node_that_dies(cluster: Any, launcher: RayLauncher) -> None:
    node = cluster.add_node(num_cpus=3, object_store_memory=100 * 2**20)
    process, connection = launcher.start(make_task(threads=3))
    hear(connection)
    cluster.remove_node(node, allow_graceful=False)
    assert_closed(connection)
    assert process.join() == "was killed (Ray: its node died)"


def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StudyError, match=f"no Ray cluster answers at {address}"):
            RayLauncher(address).start(make_task())
    with pytest.raises(StudyError, match=r"got ray://head:10001: run it there"):
        RayLauncher("ray://head:10001").start(make_task())


def test_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(StudyError, match=r"got ray://head:10001"):
        RayLauncher().start(make_task())


def test_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StudyError, match=r"pip install 'dnntune\[ray\]'"):
        RayLauncher()


OWN = """
import os, signal
from pipeline.workers.launchers.ray_launcher import RayLauncher
from tests.processes import workers_of
from tests.workers.launchers.test_ray_launcher import make_task, talker
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
launcher = RayLauncher(workers=2, run=talker())
started = [launcher.start(make_task(threads=64)) for _ in range(2)]
pids = [connection.recv()[0] for _, connection in started]
assert sorted(workers_of(os.getpid())) == sorted(pids)
assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
os.kill(pids[0], signal.SIGKILL)
print(started[0][0].join())
os.kill(pids[1], signal.SIGINT)  # as Ctrl-C would, if it reached a worker
started[1][1].send("deaf")
print(started[1][1].recv())
started[1][1].send(None)
print(started[1][0].join())
launcher.close()
"""


TRUSTED = """
import os, sys, tempfile
from pathlib import Path
from unittest import mock
from pipeline.core.compute import Compute
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.workers.launchers.ray_launcher import RayLauncher
from pipeline.workers.task import Task

def run(task, connection):
    from pipeline.workers.launchers.local import run_worker

    def work(task, channel):
        assert task.workspace.storage_url.reveal() == os.environ["DNNTUNE_STORAGE"]
        connection.send(os.getpid())
        if connection.recv():
            raise ValueError(f"{task.workspace.storage_url.reveal()} refused")

    with mock.patch("pipeline.workers.worker.work", work):
        run_worker(task, connection)

def look():
    for file in [*Path(os.environ["RAY_TMPDIR"]).rglob("*"), *Path("/proc").glob("[0-9]*/cmdline")]:
        if file.is_file() and (file.parent != Path(f"/proc/{os.getpid()}")):
            try:
                found.update({str(file)} if mark.encode() in file.read_bytes() else ())
            except OSError:
                continue
            looked.add(file.name)

mark, found, looked = sys.argv[1], set(), set()
large = "-" * int(sys.argv[2])  # Ray keeps what is small with the task, and what is large apart
workspace = Workspace(storage=StoreUrl(os.environ["DNNTUNE_STORAGE"]))
task = Task(*[large] * 6, workspace=workspace, compute=Compute(threads=1, device="cpu"), worker=0)
launcher = RayLauncher(run=run)
for fails in (False, True):
    process, connection = launcher.start(task)
    connection.recv()
    look()
    connection.send(fails)
    print(process.join())
look()
launcher.close()
look()
assert any(name.startswith("raylet") for name in looked), looked
print(found)
"""


@pytest.mark.parametrize("length", [10, 100_000])
def test_a_password_is_in_no_file_of_ray(length: int) -> None:
    mark = "Xq7mark"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # a socket's path is short
        environment |= {"HOME": folder, "PYTHONPATH": ".", "RAY_TMPDIR": folder}
        environment["DNNTUNE_STORAGE"] = f"postgresql+psycopg://me:{mark}@127.0.0.1:1/none"
        command = [sys.executable, "-c", TRUSTED, mark, str(length)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    refused = "ValueError: postgresql+psycopg://me:***@127.0.0.1:1/none refused"
    assert done.stdout.splitlines() == ["None", f"failed with RuntimeError: {refused}", "set()"], done.stderr
    assert mark not in done.stderr


def test_a_cluster_of_its_own(tmp_path: Path) -> None:
    """It has room for all workers, says nothing, leaves nothing, and lets signals alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", OWN], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "was killed (Ray: its process died)\ndeaf\nNone\n"
    assert list(tmp_path.iterdir()) == []
