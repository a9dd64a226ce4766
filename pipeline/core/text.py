"""Text that comes from outside: files read within bounds, and long text shortened for messages."""

from pathlib import Path

from pipeline.core.files import read_bounded, reason


class UnreadableError(Exception):
    """A file cannot be read as text; the message says why, and what to do where that is not plain."""


def read_text_file(file: Path, limit: int) -> str:
    """Reads a regular file, and never waits for what is none: pipes and devices may have no end.

    Args:
        file: The file.
        limit: Bytes that it may have.

    Raises:
        UnreadableError: It is not there, is no regular file, has more bytes, or is not UTF-8.
    """
    try:
        return text_of(read_bounded(file, limit), limit)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise UnreadableError(reason(error) if isinstance(error, OSError) else str(error)) from None


def text_of(data: bytes, limit: int) -> str:
    """Decodes UTF-8, with or without a mark of byte order.

    Raises:
        UnreadableError: There are more bytes than ``limit``, or they are not UTF-8.
    """
    if len(data) > limit:
        raise UnreadableError(f"it is larger than {limit:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8 text (byte {error.start + 1})") from None


def shortened(text: str, limit: int) -> str:
    """Returns a text of at most ``limit`` characters: what is longer loses its middle."""
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
