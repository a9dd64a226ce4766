"""`sync_study`: MLflow gets what the study's storage has and it lacks."""

import time
from dataclasses import dataclass

from pipeline.core.errors import TrackingError
from pipeline.core.workspace import Places
from pipeline.storage.lease import LEASE_SECONDS
from pipeline.storage.open import quiet_optuna
from pipeline.storage.study_lock import present
from pipeline.tracking.scribe import Scribe


@dataclass(frozen=True)
class Synced:
    """What was done.

    Attributes:
        found: In what MLflow and the storage disagreed, in words, by the trials' numbers.
        num_written: How many trials were written.
        study_written: Whether the study's own run was.
        left: In what they still disagree.
    """

    found: dict[int, list[str]]
    num_written: int
    study_written: bool
    left: dict[int, list[str]]


def sync_study(places: Places, name: str) -> Synced:
    """Compares MLflow with a study's storage, and writes what it lacks; writes nothing where they agree.

    Trials that may be running are left alone, and everything is, while a run of the study logs it.

    Raises:
        StudyError: There is no such study, or it has not begun.
        TrackingError: MLflow cannot be used, or another process writes.
    """
    quiet_optuna()
    with present(places.lock(name)) as presence:
        is_alone = presence.is_alone and places.storage is None
        scribe = Scribe(places, name, alive=not is_alone, seize=is_alone)
        patience = time.monotonic() + LEASE_SECONDS + 5.0  # one that was killed has it for as long
        while not scribe.lease.hold():
            if not presence.is_alone or time.monotonic() > patience:
                raise TrackingError(f"a run of study {name} goes on and logs it. Call dnntune sync when it has ended")
            time.sleep(0.5)
        try:
            found = scribe.disagreements()
            num_written = scribe.write()
            study_written = scribe.write_study()
            scribe.draw_best()
            return Synced(found, num_written, study_written, scribe.disagreements() if found else {})
        finally:
            scribe.lease.release()
