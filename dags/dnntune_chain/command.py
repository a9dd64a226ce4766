"""The dnntune command, which has an environment of its own: Airflow's needs nothing of it."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DAGS = Path(__file__).parents[1]
COMMAND = os.environ.get("DNNTUNE_BIN", "dnntune")
SCHEDULES = Path(os.environ.get("DNNTUNE_SCHEDULES", DAGS / "schedules"))
# Relative paths in schedules, such as the workspace, count from here.
FOLDER = os.environ.get("DNNTUNE_FOLDER", str(DAGS.parent))
# How the command ends after a mistake that its message names: to try again would not help.
MISTAKE = 2
# A password in an address, between the user and the host, or as a query parameter: a run's settings may have one.
PASSWORD = re.compile(
    r"(?<=://)([^:/@]*:).*(?=@)|([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&\"]+", re.IGNORECASE
)


def as_typed(command: Sequence[str]) -> str:
    """Returns a command as a shell reads it, without the passwords of addresses."""
    return shlex.join(PASSWORD.sub(r"\1\2***", word) for word in command)


def show(files: Sequence[Path]) -> tuple[list[dict[str, Any]], str]:
    """Proves schedules, all in one process, which takes a third of a second.

    Args:
        files: Their files.

    Returns:
        The settings of those that are right, and what is wrong with the others, a line each: file, line, rule.

    Raises:
        RuntimeError: The command cannot be run.
    """
    command = [COMMAND, "schedule-show", *map(str, files)]
    if not files:
        return [], ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER, check=False)
    except OSError as error:
        raise RuntimeError(f"DNNTUNE_BIN must be the path of dnntune; got {COMMAND}: {error.strerror}") from error
    if done.returncode not in (0, MISTAKE):
        raise RuntimeError(f"{COMMAND} schedule-show ended with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def schedule_files() -> list[Path]:
    """Returns the files of all schedules."""
    return sorted(SCHEDULES.glob("*.yaml"))
