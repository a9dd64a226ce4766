"""A study's log in MLflow: what happens, written into its runs.

Everything goes through `MlflowClient` with explicit run ids: no global state, no active run. The store may fail at any
request, and other processes may log into the same study: each method may be called again with the same arguments after
an error, and ends no run of a trial that may be alive.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.events import EpochEnded, Event, TrialEnded, TrialReaped, TrialStarted
from pipeline.records import Outcome
from pipeline.tracking.axes import Axes
from pipeline.tracking.naming import NOTE, tags_of
from pipeline.tracking.runs import METRICS, STATUS, SUPERSEDED, StudyRuns, milliseconds
from pipeline.tracking.trial_run import TrialRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# How the trial of a number ended; interrupted if it waits to be resumed, None if it is running somewhere.
Fate = Callable[[int], Outcome | None]


class StudyTracker:
    """Logs one study.

    Args:
        client: The tracking store.
        experiment: Id of the experiment.
        study: The study's name.
        tags: Tags for every run.
        metrics: What the study optimizes.
        axes: What charts must know of the space.
        fate: Tells of a trial's number how the trial ended.
    """

    def __init__(
        self,
        client: "MlflowClient",
        *,
        experiment: str,
        study: str,
        tags: Mapping[str, str],
        metrics: Sequence[str],
        axes: Axes,
        fate: Fate,
    ) -> None:
        self.runs = StudyRuns(client, experiment, study, tags)
        self.metrics, self.axes, self.fate = metrics, axes, fate
        self.open: dict[int, TrialRun] = {}

    def has(self, run_id: str) -> bool:
        """Returns whether the store has this run: it may be another store than the last time."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.runs.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def create(self, started: float) -> str:
        """Returns the id of a new run for the study, begun at a Unix time in seconds."""
        return self.runs.create_parent(started)

    def begin(self, parent: str) -> None:
        """Begins, or goes on, in the study's run."""
        from mlflow.entities import RunTag

        self.runs.parent = parent
        client, tags = self.runs.client, {**self.runs.tags, METRICS: ", ".join(self.metrics)}
        client.log_batch(parent, tags=[RunTag(name, value) for name, value in tags.items()])
        client.update_run(parent, status="RUNNING")

    def handle(self, event: Event) -> None:
        """Logs what happened."""
        if isinstance(event, TrialStarted):
            self.open[event.number] = TrialRun(self.runs, event, self.axes)
        elif isinstance(event, EpochEnded) and event.number in self.open:
            self.open[event.number].epoch(event.result)
        elif isinstance(event, TrialEnded) and event.number in self.open:
            self.open[event.number].end(event.result)
            del self.open[event.number]
        elif isinstance(event, TrialReaped):
            for run in self._running(f"tags.trial = '{event.number}'"):
                self.runs.end_child(run, event.result.outcome, tags_of(event.result))

    def end_abandoned(self) -> None:
        """Ends the runs of trials that are over, but whose process ended without a word."""
        for run in self._running():
            # Asked only now: if the trial has ended, then this run, found before, was of that attempt or an earlier
            # one. And the fate of a trial that was attempted again is its last attempt's.
            outcome = "interrupted" if SUPERSEDED in run.data.tags else self.fate(int(run.data.tags["trial"]))
            if outcome is not None:
                self.runs.end_child(run, outcome, {"outcome": outcome})

    def end(
        self,
        outcome: Outcome,
        *,
        ended: float,
        metrics: Mapping[str, float],
        config: str | None,
        note: str,
        others_run: bool,
    ) -> None:
        """Ends the study's own run; no event may follow.

        Args:
            outcome: How the study ended.
            ended: Unix time in seconds.
            metrics: Figures of the whole study.
            config: The best configuration as YAML, if there is one.
            note: The study's description.
            others_run: Whether other processes go on with the study: its run then goes on too.
        """
        from mlflow.entities import Metric, RunTag

        self.open.clear()  # whose end was not told until now is abandoned like anybody's
        self.end_abandoned()
        client, parent, now = self.runs.client, self.runs.parent, milliseconds(ended)
        points = [Metric(name, value, now, 0) for name, value in metrics.items()]
        client.log_batch(parent, metrics=points, tags=[RunTag(NOTE, note)])
        if config is not None:
            client.log_text(parent, config, "best_config.yaml")
        if not others_run:
            client.set_tag(parent, "outcome", outcome)
            client.set_terminated(parent, STATUS[outcome])

    def _running(self, *conditions: str) -> "list[Run]":
        """Returns the runs of attempts that have not ended, but for those that are logged here."""
        mine = {run.run_id for run in self.open.values()}
        running = self.runs.children("attributes.status = 'RUNNING'", *conditions)
        return [run for run in running if run.info.run_id not in mine]
