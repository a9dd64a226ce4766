import os
from pathlib import Path

import pytest

from pipeline.core.text import UnreadableError, read_text_file, shortened, text_of


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


def test_what_is_no_text_is_named_by_its_byte() -> None:
    with pytest.raises(UnreadableError, match=r"byte 3"):
        text_of(b"ab\xff", 10)


def test_long_text_loses_its_middle() -> None:
    assert shortened("a" * 50 + "b" * 50, 13) == "aaaaa...bbbbb"
    assert shortened("short", 13) == "short"
