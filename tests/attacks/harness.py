"""Bad inputs, each given to the command line as a user gives it, within this process: a corpus takes seconds."""

import io
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.cli import main

# What an answer may take at most, on a busy machine.
LIMIT_SECONDS = 10.0


@dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes:
        name: What a test's report calls it.
        arguments: After ``dnntune``; ``{folder}`` is the test's own folder, in which the command runs.
        said: Fragments of the message, in any order.
        files: Written into the folder first, by name.
        stdin: What is on standard input.
        code: The exit code.
    """

    name: str
    arguments: tuple[str, ...]
    said: tuple[str, ...]
    files: dict[str, str | bytes] = field(default_factory=dict)
    stdin: bytes = b""
    code: int = 2


@dataclass(frozen=True)
class Answer:
    """What the command line did: its exit code, what it printed, how long it took."""

    code: int
    out: str
    err: str
    seconds: float


def call(
    arguments: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    *, stdin: bytes = b"",
) -> Answer:  # fmt: skip
    """Runs the command line in this process, as `dnntune` does."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["dnntune", *(each.replace("{folder}", str(folder)) for each in arguments)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
    capsys.readouterr()
    began = time.monotonic()
    code: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    seconds = time.monotonic() - began
    printed = capsys.readouterr()
    return Answer(code if isinstance(code, int) else int(code is not None), printed.out, printed.err, seconds)


def answered(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Gives a case to the command line, and proves that the answer is a message: at once, and no traceback.

    Nothing is left behind but what the case itself has written.
    """
    for name, content in case.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(folder.rglob("*"))
    answer = call(case.arguments, folder, monkeypatch, capsys, stdin=case.stdin)
    assert "Traceback" not in answer.out + answer.err
    assert answer.code == case.code, answer.err
    for fragment in case.said:
        assert fragment in answer.err, answer.err
    assert max(map(len, answer.err.splitlines()), default=0) < 2_000, "a line that nobody can read"
    assert answer.seconds < LIMIT_SECONDS
    assert sorted(folder.rglob("*")) == before
    return answer
