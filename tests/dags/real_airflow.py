"""Airflow as `make airflow` installs it, run in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".airflow" / "bin" / "python"
DNNTUNE = Path(sys.executable).with_name("dnntune")
SPACE = """
study: {trials: 3, pruner: none}
space: {data: {kind: digits, max_train_images: 300}, model: {width: {int: [8, 32]}}, epochs: 3}
"""
NIGHTLY = """
space: ../small.yaml
workers: 2
threads: 1
finals: {top: 1, seeds: 2}
champion: digits
warm_start: {studies: 2, configurations: 2}
"""


class Airflow:
    """Airflow with a home, schedules and a workspace of its own; its folder of DAGs is the project's."""

    def __init__(self, home: Path) -> None:
        self.schedules = home / "schedules"
        self.schedules.mkdir(parents=True)
        self.write("small.yaml", SPACE, home)
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "DNNTUNE_BIN": str(DNNTUNE),
            "DNNTUNE_SCHEDULES": str(self.schedules),
            "DNNTUNE_FOLDER": str(home),
        }

    def write(self, name: str, text: str, folder: Path | None = None) -> Path:
        """Writes a schedule, or another file elsewhere."""
        file = (folder or self.schedules) / name
        file.write_text(text)
        return file

    def do(self, *arguments: str) -> Any:
        """Returns what `in_airflow.py` prints."""
        done = self.call(str(Path(__file__).parent / "in_airflow.py"), *arguments)
        return json.loads(done.stdout.splitlines()[-1])

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs Airflow's python; with its log in the error where that fails."""
        command = [str(PYTHON), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        return done
