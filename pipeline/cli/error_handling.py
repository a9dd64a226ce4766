"""How the command ends where it should not: with one line that says what, and never with a traceback."""

import contextlib
import errno
import os
import select
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import typer
from typer._click.exceptions import ClickException
from typer.core import TyperGroup

from pipeline.core.filesystem.disk import disk_full
from pipeline.core.printing import clean, print_line
from pipeline.core.stores.urls import hide

# sysexits.h's EX_SOFTWARE: an error of ours, and not the user's.
INTERNAL_ERROR = 70
BROKEN_PIPE = 1  # typer's and rich's, where nobody reads what is printed any more
MAX_LENGTH = 400
# What a machine does to a program that has made no mistake.
_MACHINE = {
    errno.EACCES: "Name another folder, or fix its permissions",
    errno.EPERM: "Name another folder, or fix its permissions",
    errno.EROFS: "Name another folder",
    errno.ENAMETOOLONG: "Give a shorter name",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.ENFILE: "Close other programs",
    errno.EIO: "Check the disk",
}


class UnexpectedError(Exception):
    """Carries an error past typer, which would end the command without a word (or with "Aborted!")."""


class Commands(TyperGroup):
    """The commands; their unexpected errors come through to `report_error`."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except ClickException as error:  # typer prints it, and it repeats what was typed
            error.message = clean(hide(error.message))
            raise
        except (EOFError, BrokenPipeError) as error:
            if isinstance(error, BrokenPipeError) and _is_broken_pipe():
                raise
            raise UnexpectedError from error


def report_error(error: Exception) -> int:
    """Says in one line what went wrong; returns the exit code.

    Args:
        error: Anything that is not meant for the user. The whole of it goes to a log file.
    """
    if isinstance(error, UnexpectedError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = hide(str(error)).splitlines()
    said = f"{type(error).__name__}: {lines[0][:MAX_LENGTH]}" if lines else type(error).__name__
    if (full := disk_full(error)) is not None:
        print_line(f"dnntune: {full}", err=True)
        return full.exit_code
    if isinstance(error, OSError) and error.errno in _MACHINE:
        file = "" if error.filename is None else f"{str(error.filename)[:MAX_LENGTH]}: "
        print_line(f"dnntune: {file}{error.strerror}. {_MACHINE[error.errno]}", err=True)
        return 2
    if _is_database_error(error):
        remedy = "If its file is damaged, restore it from a copy, or name another --workspace or --storage"
        print_line(f"dnntune: a database failed, {said}. {remedy}. {_write_log(error)}", err=True)
        return 2
    print_line(f"dnntune: a bug: {said}. {_write_log(error)}", err=True)
    return INTERNAL_ERROR


def _is_database_error(error: BaseException | None) -> bool:
    """Whether a database has raised an error, or Optuna for it; by names, as an import takes longer than a command."""
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    known = {"sqlalchemy.exc.SQLAlchemyError", "sqlite3.Error", "optuna.exceptions.StorageInternalError"}
    return not known.isdisjoint(kinds)


def flush() -> int:
    """Writes out what was printed; returns the exit code of a command that could not, or 0."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # Python tries once more at its end, and complains
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        print_line(f"dnntune: standard output cannot be written: {error.strerror}", err=True)
        return 2
    return 0


def _write_log(error: Exception) -> str:
    text = hide("".join(traceback.format_exception(error)))
    try:
        descriptor, path = tempfile.mkstemp(prefix="dnntune-", suffix=".log")
        os.close(descriptor)
        Path(path).write_text(f"{sys.version}\n{text}", encoding="utf-8", errors="backslashreplace")
    except OSError as refused:
        return f"The traceback cannot be saved ({refused.strerror or refused}). Please report it"
    return f"The traceback is in {path}: please report it"


def _is_broken_pipe() -> bool:
    """Whether a pipe that standard output or error goes to has no reader any more."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
