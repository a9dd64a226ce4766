"""What befalls MLflow alone, the disk, or the end of a run: afterwards, storage and MLflow tell the same."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest

from pipeline.core.errors import StudyError
from pipeline.core.stores.urls import StoreUrl
from pipeline.tracking.log import END_SECONDS
from tests.chaos.agreement import disagreements, trials_in
from tests.conftest import Cli
from tests.processes import wait_until
from tests.servers import free_port

TRIALS = 12
SPACE = f"""
study: {{trials: {TRIALS}, seed: 1, pruner: none}}
space:
  data: {{kind: digits, max_train_images: 256}}
  model: {{hidden_layers: 1, width: {{int: [16, 64]}}}}
  optimizer: {{kind: adamw, lr: {{float: [1e-3, 2e-2], log: true}}}}
  epochs: 20
  early_stopping: {{patience: null}}
"""
# Beyond what the log may take: the workers' end, the interpreter's, and a busy machine.
SLACK_SECONDS = 15.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "stores.yaml"
    file.write_text(SPACE)
    return file


def start(space: Path, workspace: Path, *more: str) -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "pipeline", "run", str(space), "--workspace", str(workspace)]
    options = ["--workers", "1", "--threads", "1", *more]
    return subprocess.Popen([*program, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def num_ended(workspace: Path) -> int:
    try:
        return sum(trial.state.is_finished() for trial in trials_in(workspace, "stores"))
    except StudyError:  # it has not begun yet
        return 0


def assert_agree_after_sync(cli: Cli, workspace: Path) -> None:
    done = cli("sync", "stores", "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    assert disagreements(workspace, "stores") == []


def test_sigterm_while_the_log_drains(cli: Cli, space: Path, workspace: Path) -> None:
    with start(space, workspace) as process:
        try:
            wait_until(lambda: num_ended(workspace) >= 1)
            with closing(sqlite3.connect(workspace / "mlflow.db", timeout=60, isolation_level=None)) as locked:
                locked.execute("BEGIN EXCLUSIVE")  # from now on nothing is logged
                wait_until(lambda: num_ended(workspace) == TRIALS)
                process.send_signal(signal.SIGTERM)
                asked = time.monotonic()
                process.wait(END_SECONDS + SLACK_SECONDS)
                assert time.monotonic() - asked < END_SECONDS + SLACK_SECONDS
                locked.execute("ROLLBACK")
        finally:
            process.kill()
        _, err = process.communicate()
    assert "Traceback" not in err
    assert_agree_after_sync(cli, workspace)


def test_mlflows_database_is_corrupted(cli: Cli, space: Path, workspace: Path) -> None:
    with start(space, workspace) as process:
        try:
            wait_until(lambda: num_ended(workspace) >= 2)
            (workspace / "mlflow.db").write_bytes(os.urandom(65536))
            wait_until(lambda: num_ended(workspace) == TRIALS)
            process.wait(END_SECONDS + SLACK_SECONDS)
        finally:
            process.kill()
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert "dnntune sync stores" in err  # what writes the rest is said
    assert "Traceback" not in err
    for file in workspace.glob("mlflow.db*"):
        file.unlink()
    assert_agree_after_sync(cli, workspace)


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of a real tracking server, and its process group."""
    port = free_port()
    stores = ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--artifacts-destination", str(tmp_path)]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *stores]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(address))
        yield address, server.pid
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=1.0):
            return True
    except OSError:
        return False


def test_mlflows_server_hangs(cli: Cli, space: Path, workspace: Path, mlflow_server: tuple[str, int]) -> None:
    address, group = mlflow_server
    with start(space, workspace, "--tracking-uri", address) as process:
        try:
            wait_until(lambda: num_ended(workspace) >= 2)
            os.killpg(group, signal.SIGSTOP)
            wait_until(lambda: num_ended(workspace) == TRIALS)
            process.wait(END_SECONDS + SLACK_SECONDS)
        finally:
            os.killpg(group, signal.SIGCONT)
            process.kill()
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert f"dnntune sync stores --workspace {workspace} --tracking-uri {address}" in err
    done = cli("sync", "stores", "--workspace", workspace, "--tracking-uri", address)
    assert done.returncode == 0, done.stderr
    assert disagreements(workspace, "stores", StoreUrl(address)) == []


def test_a_workspace_is_moved(cli: Cli, space: Path, workspace: Path, tmp_path: Path) -> None:
    with start(space, workspace) as process:
        try:
            wait_until(lambda: num_ended(workspace) >= 3)
            process.send_signal(signal.SIGTERM)
            process.wait(60.0)
        finally:
            process.kill()
    moved = workspace.rename(tmp_path / "moved")
    done = cli("resume", "stores", "--workspace", moved, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert num_ended(moved) >= TRIALS
    assert disagreements(moved, "stores") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system needs the right to mount it, run as root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_is_full(cli: Cli, space: Path, small_disk: Path) -> None:
    workspace = small_disk / "runs"
    with start(space, workspace) as process:
        try:
            wait_until(lambda: num_ended(workspace) >= 2)
            ballast = small_disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                for size in (65536, 4096, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        continue
            process.wait(120.0)
        finally:
            process.kill()
        _, err = process.communicate()
    assert process.returncode == 2, err
    assert "Traceback" not in err
    ballast.unlink()
    done = cli("resume", "stores", "--workspace", workspace, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert disagreements(workspace, "stores") == []
