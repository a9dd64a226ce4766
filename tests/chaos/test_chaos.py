"""A night in a minute: workers are killed and the database restarts, and the study has what it should in the end."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from pipeline.core.workspace import Workspace
from pipeline.storage.open import open_storage
from pipeline.study.attributes import FIRST_ATTEMPT, RETRY, RETRY_OF
from pipeline.study.studies import load_study
from pipeline.study.trials import HEARTBEAT_EXPIRED, outcome_of, result_of
from pipeline.tracking.store import open_client
from tests.processes import workers_of

TRIALS, WORKERS, EPOCHS = 60, 4, 60
SECONDS_BETWEEN_KILLS = 3.0
SPACE = f"""
study: {{trials: {TRIALS}, seed: 1, retries: 10, pruner: {{kind: median, warmup_epochs: 10}}}}
space:
  data: {{kind: digits}}
  model: {{hidden_layers: {{int: [1, 3]}}, width: {{int: [16, 64]}}}}
  optimizer: {{kind: adamw, lr: {{float: [1e-3, 2e-2], log: true}}}}
  epochs: {EPOCHS}
  early_stopping: {{patience: null}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def restart_sqlite(workspace: Path) -> None:
    """Nobody can use the database for some seconds: the nearest that a file has to a restart."""
    connection = sqlite3.connect(workspace / "studies.db", timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(5.0)
    connection.execute("ROLLBACK")
    connection.close()


def run_in_chaos(
    workspace: Path, *options: str, restart: Callable[[], None], log: Path, pause: float = SECONDS_BETWEEN_KILLS
) -> tuple[int, "subprocess.CompletedProcess[str]"]:
    """Runs the study while workers are killed; returns how many were, and how it ended."""
    file = workspace.parent / "chaos.yaml"
    file.write_text(SPACE)
    command = [sys.executable, "-m", "pipeline", "run", str(file), "--workers", str(WORKERS), "--threads", "1"]
    dice, kills, is_restarted = random.Random(0), 0, False
    with (log / "out").open("w") as out, (log / "err").open("w") as err:
        process = subprocess.Popen([*command, "--workspace", str(workspace), *options], stdout=out, stderr=err)
        try:
            while process.poll() is None:
                time.sleep(pause)
                workers = [pid for pid in workers_of(process.pid) if _is_ready(pid)]
                if workers:
                    os.kill(dice.choice(workers), signal.SIGKILL)
                    kills += 1
                if kills >= 3 and not is_restarted:
                    restart()
                    is_restarted = True
        finally:
            process.kill()
    assert is_restarted
    texts = [(log / name).read_text() for name in ("out", "err")]
    return kills, subprocess.CompletedProcess(command, process.returncode, *texts)


def _is_ready(pid: int) -> bool:
    """Whether a worker has loaded its data: it then holds the study's lock. One that has not has nothing to lose."""
    try:
        return any(file.readlink().name == "chaos.lock" for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def assert_nothing_is_lost(trials: list[FrozenTrial], workspace: Path) -> None:
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == TRIALS
    assert states[TrialState.RUNNING] == 0
    assert states[TrialState.WAITING] == 0
    by_number = {trial.number: trial for trial in trials}
    for trial in trials:
        if RETRY_OF in trial.user_attrs:
            before = by_number[trial.user_attrs[RETRY_OF]]
            assert outcome_of(before) == "failed"
            # A retry that was killed in its turn may not have come to all that it was queued with.
            queued = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            assert queued.items() >= before.params.items()
            assert trial.user_attrs[RETRY] == before.user_attrs.get(RETRY, 0) + 1
    # of one configuration's attempts, one has counted
    attempts = Counter(t.user_attrs.get(FIRST_ATTEMPT, t.number) for t in trials if outcome_of(t) != "failed")
    assert set(attempts.values()) == {1}
    # each has trained all its epochs, or was pruned
    for trial in trials:
        if (
            trial.state == TrialState.COMPLETE
            and (result := result_of(trial)) is not None
            and result.duplicate_of is None
        ):
            assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))  # a server has no order
    runs = mlflow_runs(workspace)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    (parent,) = [run for run in runs if run.data.tags["kind"] == "study"]
    assert parent.info.status == "FINISHED"
    children = {int(run.data.tags["trial"]): run for run in runs if run.data.tags["kind"] == "trial"}
    assert len(children) == len(runs) - 1  # no trial has two
    for trial in trials:
        if trial.params and trial.number not in children:
            # killed between drawing its parameters and telling of it
            assert outcome_of(trial) == "failed"
        elif trial.number in children:
            tags = children[trial.number].data.tags
            assert tags["outcome"] == outcome_of(trial)
            assert tags.get("retry_of") == _text(trial.user_attrs.get(RETRY_OF))
            assert tags.get("retry") == _text(trial.user_attrs.get(RETRY))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def mlflow_runs(workspace: Path) -> list[Any]:
    client = open_client(Workspace(workspace).tracking_url)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, max_results=1000))


def check(workspace: Path, storage: str, kills: int, done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert kills >= 4
    trials = load_study(open_storage(storage), "chaos").trials
    failed = [trial for trial in trials if outcome_of(trial) == "failed"]
    assert failed
    # A worker that is killed between its claim and telling of it is found by its silence.
    reasons = [str(result.reason) for trial in failed if (result := result_of(trial)) is not None]
    assert all("was killed" in reason or reason == HEARTBEAT_EXPIRED.reason for reason in reasons), reasons
    assert_nothing_is_lost(trials, workspace)


def test_the_embedded_storage(workspace: Path, tmp_path: Path) -> None:
    kills, done = run_in_chaos(workspace, restart=lambda: restart_sqlite(workspace), log=tmp_path)
    check(workspace, Workspace(workspace).storage_url, kills, done)


def test_postgresql(workspace: Path, tmp_path: Path, postgresql: Any) -> None:
    kills, done = run_in_chaos(workspace, "--storage", postgresql.url, restart=postgresql.restart, log=tmp_path)
    check(workspace, postgresql.url, kills, done)


def test_ray(workspace: Path, tmp_path: Path, postgresql: Any) -> None:
    options = ["--storage", postgresql.url, "--launcher", "ray"]
    # There, each new worker imports all that it needs.
    kills, done = run_in_chaos(workspace, *options, restart=postgresql.restart, log=tmp_path, pause=8.0)
    check(workspace, postgresql.url, kills, done)
