"""What the tests share: a clean environment, workspaces, and the command line."""

import json
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread a process: some train side by side, and numbers are equal to the bit. Torch reads it when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from pipeline.core.workspace import STORAGE_VARIABLES, TRACKING_VARIABLES, Workspace
from pipeline.data.sources.user_data import DEBIAN_FASHION_MNIST
from tests.command import dnntune
from tests.servers import HOW_TO_GET, PostgreSQL, postgresql_programs, postgresql_server

# What takes long to import is imported by the fixtures that need it: torch, MLflow, a browser.
if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from playwright.sync_api import Browser, Page

Cli = Callable[..., "CompletedProcess[str]"]

# A busy machine misses any deadline; what was found once is written down as an example, and not in a folder.
hypothesis.settings.register_profile("dnntune", deadline=None, database=None)
hypothesis.settings.load_profile("dnntune")

SMALL_SPACE = """
study: {trials: 6, seed: 1, pruner: none}
space:
  data: {kind: digits, max_train_images: 300}
  model:
    hidden_layers: {int: [1, 2]}
    width: 16
    activation: {choice: [relu, selu]}
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [1e-2, 0.3], log: true}}
      - {kind: adamw, lr: {float: [1e-3, 2e-2], log: true}}
  epochs: 4
"""


@pytest.fixture(autouse=True)
def _no_data_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps a test from finding data, or a cache, that this machine happens to have."""
    for name in ("DNNTUNE_DATA", *STORAGE_VARIABLES, *TRACKING_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session", autouse=True)
def _logs_import_mlflow_once() -> None:
    """Forks the logs of studies that run in this process, too: each would import MLflow for seconds.

    They may take longer than a user would wait: the machine may be busy.
    """
    from pipeline.tracking import log
    from pipeline.workers.launchers import local as processes

    log.CONTEXT = multiprocessing.get_context("forkserver")  # type: ignore[assignment]
    log.END_SECONDS = 60.0
    processes.PRELOAD += ["mlflow.store.tracking.sqlalchemy_store", "pipeline.tracking.log_writer"]


@pytest.fixture
def fashion_mnist() -> Path:
    """The folder of the real Fashion-MNIST."""
    if not DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("needs the real Fashion-MNIST: apt-get install dataset-fashion-mnist")
    return DEBIAN_FASHION_MNIST


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MLflow database with its tables and nothing else; to make one takes seconds."""
    from pipeline.tracking.store import open_client

    workspace = Workspace(tmp_path_factory.mktemp("mlflow"))
    open_client(workspace.tracking_url)
    return workspace.root / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, mlflow_tables: Path) -> Path:
    """A workspace in which nothing has run."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(mlflow_tables, folder / "mlflow.db")
    return folder


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    """A space whose trials take a moment."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL_SPACE)
    return file


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs ``dnntune`` as a user types it."""
    return dnntune


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path, cli: Cli) -> dict[str, Any]:
    """A study of six trials that two workers have run: what it printed, its workspace and its file."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "runs").mkdir()
    shutil.copy(mlflow_tables, folder / "runs" / "mlflow.db")
    (folder / "small.yaml").write_text(SMALL_SPACE)
    done = cli("run", folder / "small.yaml", "--workers", 2, "--threads", 1, "--workspace", folder / "runs", "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return {"json": json.loads(lines[-1]), "done": done, "workspace": folder / "runs", "file": folder / "small.yaml"}


@pytest.fixture(scope="session")
def _postgresql_server() -> Iterator[PostgreSQL]:
    programs = postgresql_programs()
    if programs is None:
        pytest.skip(HOW_TO_GET)
    with postgresql_server(programs) as server:
        yield server


@pytest.fixture(scope="session")
def _chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    # Not with its sandbox, which root cannot have; and it would look up hosts of its maker.
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*quiet, "--disable-sync", "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture
def page(_chromium: "Browser") -> Iterator["Page"]:
    """A page of a real browser, 1280 x 900 pixels, with nothing from earlier tests."""
    context = _chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def postgresql(_postgresql_server: PostgreSQL) -> PostgreSQL:
    """An empty database on a PostgreSQL server, which a test may stop and restart."""
    _postgresql_server.start()
    return _postgresql_server.fresh()


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of this machine that another program listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])
