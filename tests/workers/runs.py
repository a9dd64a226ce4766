"""Studies that are run in this process and in others, for tests of what becomes of them."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna

from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.space.files import load_space
from pipeline.space.overrides import Override
from pipeline.storage.open import open_storage
from pipeline.study.studies import load_study
from pipeline.study.summary import StudySummary
from pipeline.tracking.store import open_client
from pipeline.workers.run import run_study
from tests.processes import workers_of

SLOW = ["epochs=3000", "early_stopping.patience=null", "study.trials=2"]


def run(
    file: Path, workspace: Path, *settings: str, compute: Compute = Compute(threads=1), **options: Any
) -> StudySummary:
    loaded = load_space(str(file), [Override.parse(setting) for setting in settings])
    return run_study(
        loaded.space, loaded.study, name=loaded.name, workspace=Workspace(workspace), compute=compute, **options
    )


def trials_of(workspace: Path, name: str = "small") -> list[optuna.trial.FrozenTrial]:
    return load_study(open_storage(Workspace(workspace).storage_url), name).trials


def statuses(workspace: Path) -> list[str]:
    client = open_client(Workspace(workspace).tracking_url)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run.info.status for run in client.search_runs(ids)]


def start(file: Path, workspace: Path, *settings: str) -> "subprocess.Popen[str]":
    overrides = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "pipeline", "run", str(file), "--workspace", str(workspace), "--json"]
    command += ["--threads", "1", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def has_epochs(workspace: Path) -> bool:
    """Whether a trial has reported an epoch."""
    if not (workspace / "studies.db").exists():
        return False
    with sqlite3.connect(workspace / "studies.db") as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if ("trial_intermediate_values",) not in tables:
            return False
        (count,) = connection.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()
    connection.close()
    return bool(count)


def worker_of(process: "subprocess.Popen[str]") -> int:
    (worker,) = workers_of(process.pid)
    return worker
