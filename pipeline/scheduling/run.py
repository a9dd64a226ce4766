"""One run of a schedule: its study in the storage, found by the schedule's name and the run's key."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import optuna

from pipeline.core.errors import StudyError
from pipeline.core.names import KEPT_CHARACTERS, check_name, numbered
from pipeline.scheduling.file import ScheduleFile
from pipeline.storage.open import open_existing, quiet_optuna, study_names
from pipeline.study.attributes import DATA_PROFILE, PREPARED, RUN, SCHEDULE, check_attributes
from pipeline.study.studies import load_study


@dataclass(frozen=True)
class ScheduledRun:
    """A schedule at one time.

    Attributes:
        file: The schedule.
        key: What tells this run from the schedule's others, such as its date; the same key goes on with the same run.

    Raises:
        InvalidNameError: No study can be called by the schedule and the key.
    """

    file: ScheduleFile
    key: str

    def __post_init__(self) -> None:
        check_name(self.study_name, "a run's study")

    @property
    def study_name(self) -> str:
        """What its study is called, if no other one has the name."""
        return next(self.study_names())

    def study_names(self) -> Iterator[str]:
        """Yields what its study may be called, in the order in which they are tried."""
        return numbered(f"{self.file.name}-{self.key}")

    def study(self) -> optuna.Study:
        """Returns its study: the last one that was prepared for it.

        Raises:
            StudyError: None was prepared.
        """
        quiet_optuna()
        own = [
            study
            for study in studies_of(open_existing(self.file.workspace), self.file.name)
            if study.user_attrs[RUN] == self.key
        ]
        if not own:
            raise StudyError(
                f"run {self.key} of schedule {self.file.name} has no study yet: the step prepare comes first"
            )
        return own[-1]


def studies_of(storage: optuna.storages.BaseStorage, schedule: str) -> list[optuna.Study]:
    """Returns the studies of all runs of a schedule, in the order in which they were prepared."""
    beginning = f"{schedule}-"[:KEPT_CHARACTERS]
    studies = [load_study(storage, name) for name in study_names(storage) if name.startswith(beginning)]
    own = [study for study in studies if study.user_attrs.get(SCHEDULE) == schedule]
    for study in own:
        check_attributes(study)
    return sorted(own, key=lambda study: study.user_attrs[PREPARED])


def mark(study: optuna.Study, run: ScheduledRun, data: dict[str, object]) -> None:
    """Notes in a study which run it belongs to, and what its data are."""
    attrs = {RUN: run.key, PREPARED: time.time(), DATA_PROFILE: data, SCHEDULE: run.file.name}
    for name, value in attrs.items():
        study.set_user_attr(name, value)
