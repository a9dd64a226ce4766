"""Who runs a study on this machine: every process that does holds a lock, and knows whether it is alone."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class StudyLock:
    """A process's part in a study's lock; the system lets go of it when the process ends, however it ends.

    Attributes:
        is_alone: Whether no other process was present when it came. Until `share` is called, none can come.
    """

    def __init__(self, file_lock: IO[str], *, is_alone: bool) -> None:
        self._file_lock, self.is_alone = file_lock, is_alone

    def share(self) -> None:
        """Lets others come; waits for one that is there and does not, yet."""
        fcntl.flock(self._file_lock, fcntl.LOCK_SH)


@contextmanager
def hold_study_lock(file: Path) -> Iterator[StudyLock]:
    """Is present while the context lasts.

    Args:
        file: The study's lock file; made if it is missing.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as file_lock:
        try:
            fcntl.flock(file_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            study_lock = StudyLock(file_lock, is_alone=True)
        except BlockingIOError:
            study_lock = StudyLock(file_lock, is_alone=False)
            study_lock.share()
        yield study_lock
