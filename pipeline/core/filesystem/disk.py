"""A file system without space: how it is known of an error, and what is said of it."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import DiskFullError

# A file system with less is full: SQLite and others need a page or two for what they do first.
LEAST_FREE_BYTES = 64 * 2**10
POSTGRESQL_DISK_FULL = "53100"
# What SQLite says where it cannot write, or not even begin to, for whatever reason.
_PERHAPS_FULL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def disk_full(error: BaseException, *workspace: Path) -> DiskFullError | None:
    """Returns what to tell a user if an error came of a full file system, however it is wrapped; None of another one.

    Args:
        error: Anything.
        workspace: Folders or files that were written to, for errors that do not name theirs.
    """
    for cause in _causes(error):
        match cause:
            case DiskFullError():
                return cause
            case OSError(errno=errno.ENOSPC | errno.EDQUOT):
                own = () if not isinstance(cause.filename, str) else (Path(cause.filename),)
                return _told((*own, *workspace), is_quota=cause.errno == errno.EDQUOT)
            case sqlite3.Error():
                code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
                perhaps = code in _PERHAPS_FULL and any(_free(place) < LEAST_FREE_BYTES for place in workspace)
                if code == sqlite3.SQLITE_FULL or perhaps:
                    return _told(workspace)
        if getattr(cause, "sqlstate", None) == POSTGRESQL_DISK_FULL:
            return DiskFullError(f"the database server has no space left. Free space there{_AND_THEN}")
    return None


_AND_THEN = ", and give the same command again: a study goes on where it stopped"


def _told(workspace: tuple[Path, ...], *, is_quota: bool = False) -> DiskFullError:
    """Returns the error for the fullest of the file systems that the places are on."""
    if not workspace:
        return DiskFullError(
            "No space left on device: a file, or what is printed, cannot be written. Free space where it goes"
            f"{_AND_THEN}"
        )
    place = min(workspace, key=_free)
    there = _existing(place)
    mount = next(folder for folder in (there, *there.parents) if os.path.ismount(folder))
    usage = shutil.disk_usage(mount)
    what = "the quota is used up" if is_quota else "no space is left"
    remedy = "Free space there" if is_quota else "Free space there, or name a folder on another one"
    return DiskFullError(
        f"{place}: {what} on its file system, {mount} ({_size(usage.free)} of {_size(usage.total)} free). {remedy}"
        f"{_AND_THEN}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        original = getattr(error, "orig", None)  # SQLAlchemy's name for a driver's error
        if isinstance(original, BaseException):
            yield original
        error = error.__cause__ or error.__context__


def _existing(place: Path) -> Path:
    """Returns the nearest folder above a place, or the place itself, that is there."""
    place = place.resolve()
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _free(place: Path) -> int:
    return shutil.disk_usage(_existing(place)).free


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
