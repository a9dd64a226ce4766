"""The command line, run in this process: an interpreter of its own would import torch and MLflow, which takes seconds.

What only a process of its own can show (signals, its end, what it imports, two at once) starts one itself.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from pipeline.cli.app import main


@contextlib.contextmanager
def _streams(stdin: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Lends the standard streams; like a pipe's, they take bytes, too."""
    out, err = io.BytesIO(), io.BytesIO()
    lent = {"stdin": io.BytesIO(stdin), "stdout": out, "stderr": err}
    with contextlib.ExitStack() as stack:
        for name, stream in lent.items():
            text = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
            stack.enter_context(mock.patch.object(sys, name, text))
        yield out, err


def dnntune(*arguments: object, stdin: str | bytes | None = None, cwd: Path | None = None) -> "CompletedProcess[str]":
    """Runs ``dnntune ARGUMENTS``.

    Args:
        arguments: The words of the command line.
        stdin: What is on standard input.
        cwd: The folder in which it runs; this process's if not given.

    Returns:
        Its exit code and what it printed.
    """
    words = ["dnntune", *map(str, arguments)]
    given = stdin.encode() if isinstance(stdin, str) else stdin or b""
    code: int | str | None = 0
    with (
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.object(sys, "argv", words),
        _streams(given) as (out, err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        returned = code if isinstance(code, int) else int(code is not None)
        return CompletedProcess(words, returned, out.getvalue().decode(), err.getvalue().decode())
