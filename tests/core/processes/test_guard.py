"""Servers of two generations, whose command is ended in each way that there is."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.core.processes.process_tree import descendants
from tests.processes import LONG, parents, wait_until

# Like `mlflow ui`: a process that starts the one that serves.
SERVER = "import subprocess, sys; print('up', flush=True); subprocess.run(['sleep', '300'])"
COMMAND = f"""
import os, sys
from pipeline.core.processes.guard import run_guarded
from pipeline.core.processes.interrupts import answered
with answered(ends=True):
    sys.exit(run_guarded([sys.executable, "-c", {SERVER!r}], os.environ))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("victim", ["command", "guard"])
def test_nothing_outlives_a_command(number: int, victim: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    wait_until(lambda: len(descendants(process.pid)) == 3)
    guard, server, sleep = descendants(process.pid)
    os.kill(process.pid if victim == "command" else guard, number)
    code = process.wait(LONG)
    if victim == "command":
        assert code == (-number if number == signal.SIGKILL else 0)
    else:
        assert code != 0
    wait_until(lambda: not {guard, server, sleep} & set(parents()))


def test_the_code_of_a_server_that_ends_by_itself() -> None:
    program = COMMAND.replace(repr(SERVER), repr("raise SystemExit(7)"))
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=LONG).returncode == 7
