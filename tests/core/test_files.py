"""Reading regular files, and nothing else, within bounds."""

import os
import re
import socket
from pathlib import Path

import pytest

from pipeline.core.files import open_regular, read_bounded


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(file)
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"12345"
    assert read_bounded(file, 5) == b"12345"


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe", "/dev/zero", "/dev/tty"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    place = Path(kind) if kind.startswith("/dev") else tmp_path / "a"
    if kind in ("pipe", "link to a pipe"):
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to(tmp_path / "pipe")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    with pytest.raises(OSError, match="no regular file"):
        open_regular(place)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


@pytest.mark.parametrize("size", [6, 10_000_000])
def test_a_file_that_is_too_large_is_not_read(size: int, tmp_path: Path) -> None:
    file = tmp_path / "a"
    with file.open("wb") as stream:
        stream.truncate(size)
    with pytest.raises(OSError, match=re.escape("it is larger than 5 bytes")):
        read_bounded(file, 5)


def test_a_file_that_tells_no_size_is_bounded_too() -> None:
    with pytest.raises(OSError, match="larger than 5 bytes"):
        read_bounded(Path("/proc/self/status"), 5)
