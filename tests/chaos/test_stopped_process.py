"""A process of a run is stopped for longer than the dead are given; storage and MLflow then tell the same."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import IO

import pytest

from pipeline.core.process_tree import descendants
from tests.chaos.agreement import disagreements, trials_in
from tests.processes import command
from tests.study.runs import wait_until

TRIALS, EPOCHS = 6, 100
SPACE = f"""
study: {{trials: {TRIALS}, seed: 1, retries: 20, pruner: none}}
space:
  data: {{name: digits}}
  model: {{hidden_layers: {{int: [1, 2]}}, width: {{int: [16, 64]}}}}
  optimizer: {{kind: adamw, lr: {{float: [1e-3, 2e-2], log: true}}}}
  epochs: {EPOCHS}
  early_stopping: {{patience: null}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "any.yaml"
    file.write_text(SPACE)
    return file


def start(space: Path, workspace: Path, err: IO[str]) -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "pipeline", "run", str(space), "--workspace", str(workspace)]
    return subprocess.Popen([*program, "--workers", "2", "--threads", "1"], stdout=err, stderr=err, text=True)


def assert_whole(workspace: Path) -> None:
    trials = trials_in(workspace, "any")
    states = Counter(trial.state.name for trial in trials)
    assert states["COMPLETE"] == TRIALS, states
    assert not {"RUNNING", "WAITING"} & set(states), states
    for trial in trials:
        if trial.state.name == "COMPLETE":
            assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
    assert disagreements(workspace, "any") == []


def test_a_worker_that_is_stopped_beyond_the_grace_period(
    space: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "1")
    monkeypatch.setenv("DNNTUNE_GRACE_SECONDS", "3")

    def training() -> list[int]:
        """Those that hold the study's lock: they have loaded their data."""
        return [pid for pid in descendants(process.pid) if "forkserver" in command(pid) and _holds_lock(pid)]

    with (tmp_path / "err").open("w") as err:
        process = start(space, workspace, err)
        try:
            wait_until(training)
            stopped = training()[0]
            os.kill(stopped, signal.SIGSTOP)
            time.sleep(6.0)
            os.kill(stopped, signal.SIGCONT)
            assert process.wait(150) == 0, (tmp_path / "err").read_text()[-3000:]
        finally:
            process.kill()
    assert_whole(workspace)


def _holds_lock(pid: int) -> bool:
    try:
        return any(file.readlink().name == "any.lock" for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
