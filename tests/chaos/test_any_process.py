"""Any process of a run is killed or stopped at any moment; after each, storage and MLflow tell the same."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import pytest

from pipeline.core.processes.process_tree import descendants
from pipeline.core.workspace import Workspace
from pipeline.tracking.sync import sync_study
from tests.chaos.agreement import disagreements, trials_in
from tests.processes import command, parents, wait_until

TRIALS, EPOCHS = 6, 100
SPACE = f"""
study: {{trials: {TRIALS}, seed: 1, retries: 20, pruner: none}}
space:
  data: {{kind: digits}}
  model: {{hidden_layers: {{int: [1, 2]}}, width: {{int: [16, 64]}}}}
  optimizer: {{kind: adamw, lr: {{float: [1e-3, 2e-2], log: true}}}}
  epochs: {EPOCHS}
  early_stopping: {{patience: null}}
"""
MAX_KILLS = 12
# A supervisor that was killed leaves a study that is started again; a machine that is too busy ends in an error.
MAX_STARTS = 20

SUPERVISOR, MAX_SUPERVISORS = "pipeline run", 2
# A worker has the command line of its fork server; what logs is spawned.
KINDS = (SUPERVISOR, "resource_tracker", "forkserver", "spawn_main")

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
    sync_study(Workspace(workspace), "any")  # what a log that was killed at the end has left, and the run has said
    assert disagreements(workspace, "any") == []


def _gone(family: Iterable[int]) -> Callable[[], bool]:
    return lambda: not set(family) & set(parents())


def test_any_process_is_killed_every_two_seconds(space: Path, workspace: Path, tmp_path: Path) -> None:
    dice, kinds, codes = random.Random(3), Counter[str](), []
    with (tmp_path / "err").open("w") as err:
        for _ in range(MAX_STARTS):
            process = start(space, workspace, err)
            family: list[int] = []
            try:
                time.sleep(1.0)
                while process.poll() is None:
                    family = [process.pid, *descendants(process.pid)]
                    members = {kind: [pid for pid in family if kind in command(pid)] for kind in KINDS}
                    if kinds[SUPERVISOR] == MAX_SUPERVISORS or len(family) == 1:  # it has only just been started
                        del members[SUPERVISOR]
                    kind = dice.choice([kind for kind, pids in members.items() if pids] or [""])
                    if kind and kinds.total() < MAX_KILLS:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(dice.choice(members[kind]), signal.SIGKILL)
                            kinds[kind] += 1
                    time.sleep(2.0)
            finally:
                process.kill()
            codes.append(process.wait())
            wait_until(_gone(family))  # nobody is left behind
            if codes[-1] == 0:
                break
    said = (tmp_path / "err").read_text()
    assert codes[-1] == 0, said[-3000:]
    # Killed, or an error that says what to do.
    assert set(codes) <= {0, 2, -signal.SIGKILL}, (codes, said[-3000:])
    assert set(kinds) == set(KINDS), kinds
    assert "Aborted" not in said
    assert "a bug" not in said
    assert_whole(workspace)


def test_a_worker_that_is_stopped_beyond_the_grace_period(
    space: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "1")
    monkeypatch.setenv("DNNTUNE_GRACE_PERIOD_SECONDS", "3")

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
