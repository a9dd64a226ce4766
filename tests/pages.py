"""Commands of ``dnntune`` that serve a page, run in a process of their own and ended as Ctrl-C ends them."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import LONG, wait_until


@contextmanager
def served(folder: Path, address: str, *arguments: object) -> Iterator[str]:
    """Runs a command while the context lasts; yields what it has printed when its page is up.

    Args:
        folder: For its output.
        address: What is asked of the page until it answers.
        arguments: Of ``dnntune``.
    """
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *map(str, arguments)],
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUNBUFFERED": "1"},
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(address))
        assert process.poll() is None, output.read_text()
        yield output.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 0, output.read_text()
        assert "Traceback" not in output.read_text()
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
