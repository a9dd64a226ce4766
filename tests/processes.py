"""Processes that tests start: waiting for what they do, and finding the workers of a study among them."""

import time
from collections.abc import Callable
from pathlib import Path

# What never comes is waited for so long, in seconds: a busy machine is slow, and no test may fail for that.
LONG = 240.0


def wait_until(condition: Callable[[], object]) -> None:
    """Waits for a condition; fails after `LONG`."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def parents() -> dict[int, int]:
    """Returns every process of the machine with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] != "Z":
            found[int(stat.parent.name)] = int(fields[1])
    return found


def command(pid: int) -> str:
    """Returns a process's command line; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def workers_of(pid: int) -> list[int]:
    """Returns the worker processes of a supervisor, on this machine or in a Ray that it has started."""
    known = parents()
    below, pending = [], [pid]
    while pending:
        parent = pending.pop()
        children = [child for child, its_parent in known.items() if its_parent == parent]
        below += children
        pending += children
    servers = [child for child in below if known[child] == pid and "multiprocessing.forkserver" in command(child)]
    return [child for child in below if known[child] in servers or command(child).startswith("ray::run")]
