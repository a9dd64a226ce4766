"""A study's log in MLflow, from its beginning to its end: the tracker, its thread, and the view."""

import importlib.metadata
import subprocess
from collections.abc import Container, Mapping, Sequence
from typing import Any

from pipeline import __version__
from pipeline.places import Places
from pipeline.records import DataSummary, Event, Outcome
from pipeline.tracking.background import BackgroundLog
from pipeline.tracking.store import experiment_id, open_client
from pipeline.tracking.tracker import StudyTracker
from pipeline.tracking.view import axes, save_view, view_path

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
        self.study = study
        self.client = open_client(places.tracking_url)
        self.experiment = experiment_id(self.client, places.experiment, places.artifacts)
        self.tracker: StudyTracker | None = None
        self.background: BackgroundLog | None = None

    @property
    def view(self) -> str:
        """Address of the study's prepared comparison on MLflow's page, without the server."""
        return view_path(self.experiment, self.study)

    def begin(self, data: DataSummary, *, parent: str | None, log_scaled: frozenset[str]) -> str:
        """Begins, or goes on.

        Args:
            data: The data that the workers have loaded.
            parent: Id of the study's run, if it has one from before.
            log_scaled: Settings searched on a logarithmic scale.

        Returns:
            The id of the study's run.
        """
        self.tracker = StudyTracker(
            self.client,
            experiment=self.experiment,
            study=self.study,
            parent=parent,
            tags={"dataset": data.name, "device": data.device, **_versions()},
            log_scaled=log_scaled,
        )
        self.background = BackgroundLog(self.tracker.handle)
        return self.tracker.parent

    def event(self, event: Event) -> None:
        """Logs what happened, later."""
        if self.background is not None:
            self.background.put(event)

    def end(
        self,
        outcome: Outcome,
        *,
        figures: Mapping[str, float],
        best_config: str | None,
        configs: Sequence[Mapping[str, Any]],
        searched: Container[str],
        metric: str,
        maximize: bool,
    ) -> str | None:
        """Waits until all is logged, ends the study's run and saves its view.

        Args:
            outcome: How the study ended.
            figures: Figures of the whole study.
            best_config: The best configuration as YAML.
            configs: The configurations of all trials, for the view.
            searched: Paths of the settings that the study searches, likewise.
            metric: What is optimized.
            maximize: Whether larger is better.

        Returns:
            What stopped the logging, if anything did.
        """
        if self.tracker is None or self.background is None:
            return None
        self.background.close()
        if self.background.error is None:
            try:
                self.tracker.end(outcome, metrics=figures, config=best_config)
                save_view(
                    self.client,
                    self.experiment,
                    self.study,
                    metric=metric,
                    maximize=maximize,
                    parameters=axes(configs, searched, self.tracker.log_scaled),
                )
            except Exception as error:  # the study itself is complete and stored
                self.background.error = error
        stopped_by = self.background.error
        return None if stopped_by is None else f"{type(stopped_by).__name__}: {stopped_by}"


def _versions() -> dict[str, str]:
    """Returns tags for the versions of the packages and the commit of the checkout that this is run in."""
    tags = {f"version.{name}": importlib.metadata.version(name) for name in VERSIONED}
    tags["version.dnntune"] = __version__
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode == 0:
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    return tags
