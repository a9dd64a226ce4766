"""Text that comes from outside: files read within bounds, and long text shortened for messages."""

import os
import stat
from pathlib import Path


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
        # Not blocking: to open a pipe would wait for its other end.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise UnreadableError("it is not a regular file. Give its text on standard input, and - for its name")
            return text_of(opened.read(limit + 1), limit)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableError(reason or "unknown error") from None


def text_of(data: bytes, limit: int) -> str:
    """Decodes UTF-8, with or without a mark of byte order.

    Raises:
        UnreadableError: There are more bytes than ``limit``, or they are not UTF-8.
    """
    if len(data) > limit:
        raise UnreadableError(f"it may have at most {limit:,} bytes")
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
