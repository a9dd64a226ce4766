"""One call of `run_study`: the study, its log and those who watch, from the first look to the last."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import optuna
from optuna.trial import TrialState

from pipeline.config.study import StudyConfig
from pipeline.core.compute import Compute
from pipeline.core.filesystem.folders import remove_folder
from pipeline.core.workspace import Workspace
from pipeline.records.events import Event
from pipeline.records.results import DataSummary, Outcome
from pipeline.storage.open import open_storage, study_names
from pipeline.study.attributes import DATA, OUTCOME, TOTAL
from pipeline.study.claims import withdraw_leftovers
from pipeline.study.creation import create_or_resume, num_trials
from pipeline.study.studies import ConfigSource, load_study, recover_trials
from pipeline.study.summary import Chosen, StudySummary, best_of, config_text, pareto_points
from pipeline.study.trials import count_outcomes, images_through_backbone, num_counted
from pipeline.tracking.attach import attach, put_above
from pipeline.tracking.log import StudyLog
from pipeline.tracking.log_writer import study_run
from pipeline.tracking.note import chosen_text
from pipeline.tracking.store import open_store
from pipeline.tracking.study_records import remember_data
from pipeline.workers.budget import Budget
from pipeline.workers.heartbeats import Heartbeat
from pipeline.workers.task import Task, tasks_of


class StudyObserver(Protocol):
    """Somebody who watches a study."""

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None:
        """The study starts or resumes."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def tick(self) -> None:
        """A moment passed."""


def attach_to_study(study: optuna.Study, workspace: Workspace, files: Mapping[str, bytes]) -> None:
    """Adds files to the study's run in MLflow, if it has one there.

    Raises:
        TrackingError: The store cannot be used.
    """
    if (run := study_run(study, workspace)) is not None:
        attach(open_store(workspace), run, files)


def describe_chosen(study: optuna.Study, workspace: Workspace, chosen: Chosen) -> None:
    """Says on MLflow's page what was chosen of a study, and puts its configuration there, if it has a run there.

    Raises:
        TrackingError: The store cannot be used.
    """
    if (run := study_run(study, workspace)) is None:
        return
    text = chosen_text(chosen.trial, chosen.describe())
    put_above(workspace, run, text, {"best_config.yaml": config_text(chosen.config).encode()})


class Session:
    """One call of `run_study`.

    Whoever is alone with a study in the workspace's own storage lets what dead processes left running be resumed at
    once. A storage that is named may be shared with other machines: there, and beside others, heartbeats tell.

    Args:
        space: What is searched.
        settings: How.
        name: The study's name.
        workspace: Where it is kept.
        observer: Is told what happens.
        is_alone: Whether no other process of this machine runs the study.
        joins: Whether the study is another's, who says how many trials it has.
    """

    def __init__(
        self,
        space: ConfigSource,
        settings: StudyConfig,
        name: str,
        workspace: Workspace,
        observer: StudyObserver,
        *,
        is_alone: bool,
        joins: bool = False,
    ) -> None:
        self.started = time.monotonic()
        self.config_source = space
        self.settings, self.name, self.workspace, self.observer = settings, name, workspace, observer
        self.joins = joins
        self.is_alone = is_alone and workspace.storage is None
        self.heartbeat = Heartbeat(settings.retries)
        self.storage = open_storage(workspace.storage_url, on_stale=self.heartbeat.on_stale)
        self.study: optuna.Study | None = None
        self.log: StudyLog | None = None
        self.tracking_error: str | None = None
        self.interrupted = False
        if name in study_names(self.storage):
            study = self._open_study()
            if self.is_alone:
                recover_trials(study, settings.retries)

    def _open_study(self) -> optuna.Study:
        if self.joins:
            self.study = load_study(self.storage, self.name)
        else:
            self.study = create_or_resume(self.storage, self.name, self.settings, self.config_source)
        return self.study

    @property
    def total(self) -> int:
        """How many trials the study has in all: another process may have given it more."""
        if self.study is None:
            return num_trials(self.settings, self.config_source)
        total: int = self.study.user_attrs[TOTAL]
        return total

    def num_left(self) -> int:
        """Returns how many trials the study still needs."""
        done = 0 if self.study is None else num_counted(self.study.get_trials(deepcopy=False))
        return max(self.total - done, 0)

    def tasks(self, compute: Compute) -> list[Task]:
        """Returns what each worker needs to know."""
        num_workers = min(compute.workers, max(self.num_left(), 1))
        cores = len(os.sched_getaffinity(0))
        return tasks_of(
            self.config_source,
            self.settings,
            self.name,
            self.workspace,
            replace(compute, workers=num_workers, threads=compute.threads or max(1, cores // num_workers)),
        )

    def open_log(self) -> None:
        """Has MLflow opened, which takes seconds: nobody waits for it."""
        self.log = StudyLog(self.workspace, self.name, is_alone=self.is_alone)

    def catch_up(self) -> None:
        """Lets MLflow have what it lacks of a study that has its trials."""
        if self.study is None or DATA not in self.study.user_attrs:
            return
        self.log = StudyLog(self.workspace, self.name, is_alone=self.is_alone)
        self.log.begin()
        self.tracking_error = self.log.close()

    def begin(self, data: DataSummary) -> tuple[optuna.Study, Budget]:
        """Creates or resumes the study, now that a worker has loaded its data."""
        assert self.log is not None
        study = self.study or self._open_study()
        remember_data(study, data)
        self.log.begin()
        deadline = None if self.settings.timeout is None else self.started + self.settings.timeout
        counted = self.total - self.num_left()
        self.observer.begin(self.name, total=self.total, counted=counted, direction=self.settings.direction, data=data)
        return study, Budget(deadline)

    def event(self, event: Event) -> None:
        """Passes on what happened."""
        if self.log is not None:
            self.log.event(event)
        self.observer.event(event)

    def tick(self) -> None:
        """A moment has passed.

        Raises:
            TrackingError: MLflow cannot be used.
        """
        if self.log is not None:
            self.log.tick()
        self.observer.tick()

    def end(self, outcome: Outcome) -> None:
        """Leaves nothing of this call running in MLflow, and no checkpoint of a study that is complete."""
        if self.log is None:
            return
        if self.study is not None:
            trials = self.study.get_trials(deepcopy=False)
            others_run = any(trial.state == TrialState.RUNNING for trial in trials)
            if outcome == "complete" and not others_run:
                remove_folder(self.workspace.checkpoints(self.name), below=self.workspace.root)
                withdraw_leftovers(self.study)
            self.study.set_user_attr(OUTCOME, outcome)
        self.tracking_error = self.log.close()

    def end_log(self) -> None:
        """Ends the log's process at once, whatever it has not written."""
        if self.log is not None:
            self.log.kill()

    def summary(self) -> StudySummary:
        """Returns how the study stands."""
        assert self.study is not None or self.num_left() > 0
        trials = [] if self.study is None else self.study.get_trials(deepcopy=False)
        backbone_images, cached_images = images_through_backbone(trials)
        return StudySummary(
            study=self.name,
            storage=str(self.workspace.storage_url),
            tracking_uri=str(self.workspace.tracking_url),
            trials=count_outcomes(trials),
            num_left=self.num_left(),
            best=None if self.study is None else best_of(self.study),
            seconds=time.monotonic() - self.started,
            interrupted=self.interrupted,
            tracking_error=self.tracking_error,
            backbone_images=backbone_images,
            cached_images=cached_images,
            pareto_front=() if self.study is None else pareto_points(self.study),
        )
