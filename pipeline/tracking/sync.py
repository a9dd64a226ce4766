"""`sync_study`: MLflow gets what the study's storage has and it lacks."""

import time
from dataclasses import dataclass

from pipeline.core.errors import TrackingError
from pipeline.core.workspace import Workspace
from pipeline.storage.lease import LEASE_SECONDS
from pipeline.storage.open import quiet_optuna
from pipeline.storage.study_lock import hold_study_lock
from pipeline.tracking.log_writer import LogWriter
from pipeline.tracking.store import open_experiment


@dataclass(frozen=True)
class SyncResult:
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


def sync_study(workspace: Workspace, name: str) -> SyncResult:
    """Compares MLflow with a study's storage, and writes what it lacks; writes nothing where they agree.

    Trials that may be running are left alone, and everything is, while a run of the study logs it.

    Raises:
        StudyError: There is no such study, or it has not begun.
        TrackingError: MLflow cannot be used, or another process writes.
    """
    quiet_optuna()
    with hold_study_lock(workspace.lock(name)) as study_lock:
        is_alone = study_lock.is_alone and workspace.storage is None
        log_writer = LogWriter(workspace, name, open_experiment(workspace), alive=not is_alone, seize=is_alone)
        patience = time.monotonic() + LEASE_SECONDS + 5.0  # one that was killed has it for as long
        while not log_writer.lease.hold():
            if not study_lock.is_alone or time.monotonic() > patience:
                raise TrackingError(f"a run of study {name} goes on and logs it. Call dnntune sync when it has ended")
            time.sleep(0.5)
        try:
            found = log_writer.disagreements()
            num_written = log_writer.write()
            study_written = log_writer.write_study()
            log_writer.draw_best()
            return SyncResult(found, num_written, study_written, log_writer.disagreements() if found else {})
        finally:
            log_writer.lease.release()
