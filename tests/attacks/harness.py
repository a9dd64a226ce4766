"""Bad inputs, each given to the command line as a user gives it, within this process: a corpus takes seconds."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import dnntune

# Of the processor: what others do on the machine does not count.
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


def answered(case: Case, folder: Path) -> None:
    """Gives a case to the command line, and proves that the answer is a message: at once, and no traceback.

    Nothing is left behind but what the case itself has written.
    """
    for name, content in case.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(folder.rglob("*"))
    began = time.process_time()
    arguments = [each.replace("{folder}", str(folder)) for each in case.arguments]
    done = dnntune(*arguments, stdin=case.stdin, cwd=folder)
    assert time.process_time() - began < LIMIT_SECONDS
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == case.code, done.stderr
    for fragment in case.said:
        assert fragment in done.stderr, done.stderr
    assert max(map(len, done.stderr.splitlines()), default=0) < 2_000, "a line that nobody can read"
    assert sorted(folder.rglob("*")) == before
