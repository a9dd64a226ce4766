"""A full file system is known of an error, however it is wrapped, and named."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from pipeline.core.filesystem import disk
from pipeline.core.filesystem.disk import disk_full
from pipeline.core.filesystem.files import write_whole


def _sqlite_full(file: Path) -> sqlite3.Error:
    """Returns what SQLite raises where a database may not grow, as if the disk were full."""
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 4")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    return caught.value


def _wrapped(error: BaseException) -> Exception:
    try:
        try:
            raise error
        except type(error):
            raise ValueError("something else")  # noqa: B904 - as a library may forget it
    except ValueError as caught:
        return caught


class _ServersError(Exception):
    sqlstate = "53100"


def test_every_form_of_it(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    sqlite = _sqlite_full(tmp_path / "a.db")
    for error in (full, sqlite, _wrapped(full), sqlalchemy.exc.OperationalError("INSERT", None, sqlite)):
        told = disk_full(error, tmp_path / "runs" / "checkpoints")
        assert told is not None
        assert str(told).startswith(f"{tmp_path}/runs/checkpoints: no space is left on its file system, /")
        assert " free). Free space there, or name a folder on another one, and give the same command" in str(told)
        assert disk_full(_wrapped(told)) is told
    quota = disk_full(OSError(errno.EDQUOT, "Disk quota exceeded", f"{tmp_path}/x"), Path("/"))
    assert f"{tmp_path}/x: the quota is used up on its file system" in str(quota)
    assert "the database server has no space left" in str(disk_full(_ServersError()))
    assert str(disk_full(full)).startswith("No space left on device: a file, or what is printed, cannot be written. ")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error"), OSError("No space left on device"), ValueError("database is full")],
)
def test_other_errors_are_none_of_it(error: Exception, tmp_path: Path) -> None:
    assert disk_full(error, tmp_path) is None
    assert disk_full(_wrapped(error), tmp_path) is None


def test_what_sqlite_cannot_write_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "nowhere" / "a.db").execute("CREATE TABLE t (x)")
    assert disk_full(caught.value, tmp_path) is None
    monkeypatch.setattr(disk, "_free", lambda place: 4096)
    assert disk_full(caught.value, tmp_path) is not None


def test_the_fullest_of_several_file_systems_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_free", lambda place: 0 if place.name == "b" else 2**30)
    told = disk_full(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert str(told).startswith(f"{tmp_path}/b: ")


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_whole(file, b"one", b"two")
    assert file.read_bytes() == b"onetwo"
    with pytest.raises(TypeError):
        write_whole(file, b"new", "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"onetwo"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
