"""Reading regular files, and nothing else, within bounds."""

import os
import re
import socket
from pathlib import Path

import pytest

from pipeline.core.filesystem.files import open_regular, read_bounded, read_text_file
from pipeline.core.text import UnreadableError


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


def test_text_within_its_bound_is_read(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes("\ufeffkäse".encode())
    assert read_text_file(tmp_path / "t", 8) == "käse"
    with pytest.raises(UnreadableError, match="larger than 7 bytes"):
        read_text_file(tmp_path / "t", 7)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="no regular file"):
        read_text_file(tmp_path / "pipe", 10)


@pytest.mark.parametrize(("name", "said"), [("nowhere", "No such file"), ("", "Is a directory"), ("a\0", "null byte")])
def test_what_cannot_be_opened(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UnreadableError, match=said):
        read_text_file(tmp_path / name if "\0" not in name else Path(name), 10)
