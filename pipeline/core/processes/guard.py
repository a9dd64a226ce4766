"""A server's processes, none of which outlives the command that started them, even if that is killed.

Between both stands a guard: a process that knows by the end of its standard input that the command has ended, and then
ends all below itself. The kernel's own means (`PR_SET_PDEATHSIG`) reaches a child, and not the child's children.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from pipeline.core.processes.process_tree import adopt_orphans, signal_descendants

# How long a server has to end by itself.
GRACE_SECONDS = 1.0
# By the path that this process imports by: the folder that it runs in may hold another `pipeline`.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from pipeline.core.processes.guard import guard; sys.exit(guard(sys.argv[1:]))"
)


def run_guarded(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a server until it ends, or until Ctrl-C; returns its exit code, 0 after Ctrl-C."""
    program = [sys.executable, "-c", _PROGRAM.format(path=sys.path), *command]
    with subprocess.Popen(program, stdin=subprocess.PIPE, process_group=0, env=environment) as process:
        assert process.stdin is not None
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except KeyboardInterrupt:
            process.stdin.close()
            process.wait()
            return 0
        finally:
            with contextlib.suppress(ProcessLookupError):  # if the guard itself was killed
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def guard(command: Sequence[str]) -> int:
    """Runs a command until it ends or standard input does; returns its exit code, when all below has ended."""
    adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    server = None
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        ended = os.pidfd_open(server.pid)
        select.select([sys.stdin, ended], [], [])
        return server.poll() or 0
    finally:
        _end_all()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_all() -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        signal_descendants(number)
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.02)
            except ChildProcessError:  # nobody is left
                return
