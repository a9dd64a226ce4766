"""The second Ctrl-C ends a command and all its processes, whatever it is at; each of these steps would last minutes."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.processes.process_tree import descendants
from tests.processes import parents, wait_until, workers_of

# In place of a function: one step of the main thread, in which it hears nothing.
LONG_STEP = """
import hashlib, sys
from unittest import mock
from pipeline.cli.app import main

def step(*arguments, **options):
    print("in the step", file=sys.stderr, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

function, *arguments = sys.argv[1:]
sys.argv = ["dnntune", *arguments]
with mock.patch(function, step):
    main()
"""
# A log that is waited for without end.
LONG_LOG = """
import sys
from unittest import mock
from pipeline.cli.app import main

sys.argv = ["dnntune", *sys.argv[1:]]
with mock.patch("pipeline.tracking.log.END_SECONDS", 600.0):
    main()
"""
ABLATED = """
space:
  data: {kind: digits, max_train_images: 300}
  model: {width: [16], batch_norm: before}
  epochs: 2
"""
ABLATE = ["ablate", "ablated.yaml", "--threads", 1]
FINALIZE = ["finalize", "small", "--threads", 1]


@pytest.fixture
def folder(finished: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with a finished study and a configuration."""
    shutil.copytree(finished["workspace"], tmp_path / "runs")
    (tmp_path / "ablated.yaml").write_text(ABLATED)
    return tmp_path


def start(folder: Path, *command: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    arguments = [sys.executable, *map(str, command)]
    return subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr is not None
    while words not in (line := process.stderr.readline()):
        assert line, f"it has ended without saying {words!r}"


def interrupt_twice(process: "subprocess.Popen[str]", answer: str) -> None:
    family = descendants(process.pid)
    try:
        process.send_signal(signal.SIGINT)
        read_until(process, f"{answer}; press Ctrl-C again to stop now")
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130  # two seconds, on a machine that has nothing else to do
        wait_until(lambda: not set(family) & set(parents()))
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("function", "command"),
    [
        ("pipeline.report.page.figures", ["report", "small"]),
        pytest.param(
            "pipeline.analysis.ablation_study.draw_differences", [*ABLATE, "--seeds", 2], marks=pytest.mark.slow
        ),
        pytest.param(
            "pipeline.finalize.run.select_final", [*FINALIZE, "--top", 1, "--seeds", 1], marks=pytest.mark.slow
        ),
    ],
)
def test_a_step_that_hears_nothing(folder: Path, function: str, command: list[object]) -> None:
    process = start(folder, "-c", LONG_STEP, function, *command)
    read_until(process, "in the step")
    interrupt_twice(process, "stopping")


@pytest.mark.parametrize(
    "command", [[*ABLATE, "--seeds", 99], pytest.param([*FINALIZE, "--seeds", 99], marks=pytest.mark.slow)]
)
def test_workers_in_an_epoch_that_does_not_end(folder: Path, command: list[object]) -> None:
    before = num_epochs(folder)
    process = start(folder, "-m", "pipeline", *command)
    wait_until(lambda: num_epochs(folder) > before)
    workers = workers_of(process.pid)
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    interrupt_twice(process, "stopping after this epoch")


def test_a_log_that_gets_nowhere(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db", isolation_level=None, timeout=60)) as database:
        process = start(folder, "-c", LONG_LOG, "resume", "small", "--trials", 7, "--threads", 1)
        read_until(process, "small: digits")
        database.execute("BEGIN EXCLUSIVE")
        read_until(process, "[7/7]")
        time.sleep(1.0)
        interrupt_twice(process, "")


def num_epochs(folder: Path) -> int:
    connection = sqlite3.connect(folder / "runs" / "studies.db")
    (count,) = connection.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()
    connection.close()
    return int(count)
