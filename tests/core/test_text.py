import pytest

from pipeline.core.text import UnreadableError, shortened, text_of


def test_what_is_no_text_is_named_by_its_byte() -> None:
    with pytest.raises(UnreadableError, match=r"byte 3"):
        text_of(b"ab\xff", 10)


def test_long_text_loses_its_middle() -> None:
    assert shortened("a" * 50 + "b" * 50, 13) == "aaaaa...bbbbb"
    assert shortened("short", 13) == "short"
