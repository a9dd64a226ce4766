"""A study's log in MLflow, from its beginning to its end: the tracker, its thread, and the view."""

import functools
import importlib.metadata
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pipeline import __version__
from pipeline.core.urls import hide
from pipeline.events import Event
from pipeline.places import Places
from pipeline.records import DataSummary, Outcome
from pipeline.space import SearchSpace
from pipeline.study_config import Metric
from pipeline.tracking.axes import axes_of
from pipeline.tracking.background import BackgroundLog
from pipeline.tracking.note import study_note
from pipeline.tracking.patience import is_passing, persist
from pipeline.tracking.store import experiment_id, open_client, unusable
from pipeline.tracking.tracker import Fate, StudyTracker
from pipeline.tracking.view import has_view, save_view, view_path

T = TypeVar("T")

VERSIONED = ("torch", "optuna", "mlflow")


class StudyLog:
    """Logs a study to MLflow in a thread of its own.

    Args:
        places: Which store and experiment; it is opened here, its tables made if it is new.
        study: The study's name.

    Raises:
        TrackingError: The store cannot be used.
    """

    def __init__(self, places: Places, study: str) -> None:
        self.study, self.uri = study, places.tracking_url
        self.space: SearchSpace | None = None
        self.metrics: tuple[Metric, ...] = ()
        self.data: DataSummary | None = None
        self.client = open_client(self.uri)
        self.experiment = experiment_id(self.client, places.experiment, places.artifacts)
        self.tracker: StudyTracker | None = None
        self.background: BackgroundLog | None = None

    @property
    def view(self) -> str:
        """Address of the study's prepared comparison on MLflow's page, without the server."""
        return view_path(self.experiment, self.study)

    def begin(
        self,
        data: DataSummary,
        *,
        parent: str | None,
        space: SearchSpace | None,
        metrics: tuple[Metric, ...],
        fate: Fate,
        agree: Callable[[str], str] | None = None,
    ) -> str:
        """Begins, or goes on.

        Args:
            data: The data that the workers have loaded.
            parent: Id of the study's run, if it has one from before.
            space: What is searched; None if a function draws.
            metrics: What is optimized.
            fate: Tells of a trial's number how the trial ended: interrupted if it waits to be resumed, None if it is
                running somewhere.
            agree: Given the id of a run that was made for the study, returns the id of the one that all its processes
                use: several may begin at once. A run that is not used is deleted. None if there is no other process.

        Returns:
            The id of the study's run.

        Raises:
            TrackingError: The store cannot be used any more.
        """
        self.space, self.metrics, self.data = space, metrics, data
        axes = axes_of(space)
        tracker = StudyTracker(
            self.client,
            experiment=self.experiment,
            study=self.study,
            tags={"dataset": data.name, "device": data.device, **_versions()},
            metrics=metrics,
            axes=axes,
            fate=fate,
        )
        used = parent if parent is not None and self._insist(functools.partial(tracker.has, parent)) else None
        if used is None:
            made = self._insist(functools.partial(tracker.create, time.time()))
            used = made if agree is None else agree(made)
            if used != made:
                self._insist(functools.partial(self.client.delete_run, made))
        self._insist(functools.partial(tracker.begin, used))
        self._insist(tracker.end_abandoned)
        if not self._insist(functools.partial(has_view, self.client, self.experiment, self.study)):
            searched = [] if space is None else [parameter.path for parameter in space.parameters()]
            self._insist(functools.partial(self._save_view, axes.differing(axes.examples, searched)))
        self.tracker = tracker
        self.background = BackgroundLog(tracker.handle)
        return used

    def event(self, event: Event) -> None:
        """Logs what happened, later."""
        if self.background is not None:
            self.background.put(event)

    def end(
        self,
        outcome: Outcome,
        *,
        others_run: bool,
        figures: Mapping[str, float],
        best_trial: int | None,
        best_config: str | None,
        chosen: str | None,
        configs: Sequence[Mapping[str, Any]],
        searched: Sequence[str],
    ) -> str | None:
        """Waits until all is logged, ends the study's run and saves its view.

        Args:
            outcome: How the study ended.
            others_run: Whether other processes go on with the study: its run then goes on too.
            figures: Figures of the whole study.
            best_trial: Number of the best trial, if there is one.
            best_config: The configuration that was chosen, else that trial's, as YAML.
            chosen: What `dnntune finalize` has chosen, in words; None if it has not.
            configs: The configurations of all trials, for the view.
            searched: Paths of the settings that the study searches, likewise.

        Returns:
            What stopped the logging, if anything did.
        """
        if self.tracker is None or self.background is None:
            return None
        tracker, ended = self.tracker, time.time()
        self.background.close()
        stopped_by = self.background.error
        if stopped_by is None or not is_passing(stopped_by):  # else the store has been waited for already
            try:
                persist(
                    functools.partial(
                        tracker.end,
                        outcome,
                        ended=ended,
                        metrics=figures,
                        config=best_config,
                        note=self._note(tracker.runs.parent, figures, best_trial, chosen),
                        others_run=others_run,
                    )
                )
                persist(functools.partial(self._save_view, tracker.axes.differing(configs, searched)))
            except Exception as error:  # the study itself is complete and stored
                stopped_by = stopped_by or error
        return None if stopped_by is None else hide(f"{type(stopped_by).__name__}: {stopped_by}")

    def _save_view(self, axes: Sequence[tuple[str, str]]) -> None:
        save_view(self.client, self.experiment, self.study, metrics=self.metrics, axes=axes)

    def _note(self, run: str, figures: Mapping[str, float], best_trial: int | None, chosen: str | None) -> str:
        assert self.data is not None
        return study_note(
            self.study,
            space=self.space,
            metrics=self.metrics,
            data=self.data,
            figures=figures,
            best_trial=best_trial,
            chosen=chosen,
            view=self.view,
            run=f"/#/experiments/{self.experiment}/runs/{run}",
        )

    def _insist(self, do: Callable[[], T]) -> T:
        """Does what must be done before a study can begin."""
        from mlflow.exceptions import MlflowException

        try:
            return persist(do)
        except (MlflowException, OSError) as error:
            raise unusable(self.uri, error) from None


def _versions() -> dict[str, str]:
    """Returns tags for the versions of the packages and the commit of the checkout that this is run in."""
    tags = {f"version.{name}": importlib.metadata.version(name) for name in VERSIONED}
    tags["version.dnntune"] = __version__
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode == 0:
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    return tags
