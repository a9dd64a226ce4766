"""Finding the worker processes of a study that runs in another process."""

from pathlib import Path


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
