"""Reading files that somebody else has made, regular ones only and no more than fits; writing files as a whole."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from pipeline.core.text import UnreadableError, text_of

# Deflate makes at most 1,032 bytes of one: an archive that announces more lies.
MOST_FROM_A_BYTE = 1032


def open_regular(file: Path) -> BufferedReader:
    """Opens a regular file for reading. A pipe or a device would let its reader wait for ever, or read without an end.

    Raises:
        OSError: It is not there, may not be read, or is something else than a regular file.
    """
    _check_regular(file.stat(), file)  # first, for to open a device may do something already
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(descriptor), file)  # again: it may be another one by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bounded(file: Path, limit: int) -> bytes:
    """Returns what a regular file holds.

    Args:
        file: The file.
        limit: The most bytes that it may have.

    Raises:
        OSError: As `open_regular`; or it is larger.
    """
    with open_regular(file) as stream:
        content = stream.read(limit + 1) if os.fstat(stream.fileno()).st_size <= limit else None
    if content is None or len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(file))
    return content


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


def write_whole(file: Path, *contents: bytes | memoryview) -> None:
    """Writes a file; whoever reads it, and whatever happens meanwhile, finds the old content or the new one, whole.

    It is not forced to the disk: a power failure may tear it.

    Args:
        file: The file.
        contents: What it is to hold, one after the other.

    Raises:
        OSError: It cannot be written; nothing is left of it, and an old one stays.
    """
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            for content in contents:
                stream.write(content)
        partial.replace(file)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(file)
        raise


def reason(error: OSError) -> str:
    """Returns what went wrong, without the file's name and the error's number."""
    return error.strerror or str(error)


def _check_regular(status: os.stat_result, file: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, and no regular file", str(file))
