"""One process at a time makes the tables of an embedded database: several at once leave it broken."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

SQLITE = "sqlite:///"


@contextmanager
def first_touch(url: str) -> Iterator[None]:
    """Holds a lock beside a SQLite file while it is opened, and makes its folder; does nothing for a server.

    Args:
        url: A SQLAlchemy URL.
    """
    file = url.removeprefix(SQLITE) if url.startswith(SQLITE) else ""
    if not file or file.startswith(":"):
        yield
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        yield
