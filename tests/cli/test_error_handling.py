"""Errors that nobody has foreseen end a command with one line, a code of their own and a log file."""

import errno
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.cli.error_handling import BROKEN_PIPE, INTERNAL_ERROR

ERRORS: dict[str, Exception] = {
    "KeyError: 'x'": KeyError("x"),
    "RecursionError: too deep": RecursionError("too deep"),
    "EOFError": EOFError(),
    "BrokenPipeError: [Errno 32] Broken pipe": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "MemoryError": MemoryError(),
    "ValueError: first": ValueError("first\nsecond"),
    "ValueError: postgresql://me:***@host": ValueError("postgresql://me:hunter2@host/studies"),
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Exception], int]:
    """Runs a command in which something happens; returns its exit code."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(error: Exception) -> int:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("pipeline.space.files.load_space", fail)
        monkeypatch.setattr(sys, "argv", ["dnntune", "check", "digits_mlp"])
        with pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        return end.value.code

    return run


@pytest.mark.parametrize("said", ERRORS)
def test_one_line_a_code_and_a_log(
    said: str, command: Callable[[Exception], int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command(ERRORS[said]) == INTERNAL_ERROR == 70
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert said in line
    assert "Traceback" not in line
    found = re.search(rf"{re.escape(str(tmp_path))}/dnntune-\w+\.log", line)
    assert found is not None
    log = Path(found.group()).read_text()
    assert "Traceback" in log
    assert "hunter2" not in log + err
    assert "in fail" in log


def test_what_the_machine_does_is_no_bug(
    command: Callable[[Exception], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(OSError(errno.ENOSPC, "No space left on device", "/data/x")) == 2
    said = capsys.readouterr().err
    assert said.startswith("dnntune: /data/x: no space is left on its file system, /")
    assert said.endswith("give the same command again: a study goes on where it stopped\n")
    assert command(OSError(errno.EMFILE, "Too many open files")) == 2
    assert capsys.readouterr().err == "dnntune: Too many open files. Raise the limit of open files (ulimit -n)\n"


def test_a_log_that_cannot_be_written(
    command: Callable[[Exception], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    assert command(KeyError("x")) == INTERNAL_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert "KeyError: 'x'. The traceback cannot be saved (No space left on device). Please report it" in line


@pytest.mark.parametrize(
    ("stdout", "code", "said"), [("closed", BROKEN_PIPE, ""), ("/dev/full", 2, "No space left on device")]
)
def test_standard_output_that_cannot_be_written(stdout: str, code: int, said: str) -> None:
    command = [sys.executable, "-m", "pipeline", "check", "digits_mlp"]
    if stdout == "closed":
        shell = f"set -o pipefail; {' '.join(command)} | true; exit $?"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    else:
        with Path(stdout).open("w") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1
