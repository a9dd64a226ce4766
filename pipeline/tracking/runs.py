"""A study's runs in a tracking store: one for the study, and below it one for each attempt at a trial.

A trial is attempted again under the same number, if it was interrupted, or as another trial (``retry_of``), if it
failed. Several processes log into one study, each its own attempts, and not always in the order in which they happened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.records import Outcome
from pipeline.tracking.store import find_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STATUS: dict[Outcome, str] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "diverged": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
# Outcomes after which a trial may be attempted again.
ATTEMPTED_AGAIN: tuple[Outcome, ...] = ("interrupted", "failed")
PARENT_TAG = "mlflow.parentRunId"
# Tag of a study's run: what it optimizes.
METRICS = "metrics"
# Tag of an attempt that is not its trial's last one: the number under which it was attempted again.
SUPERSEDED = "superseded_by"


def milliseconds(seconds: float) -> int:
    """Returns a Unix time as MLflow wants it."""
    return int(seconds * 1000)


@dataclass
class StudyRuns:
    """Where a study's runs are.

    Every method may be called again after an error.

    Attributes:
        client: The tracking store.
        experiment: Id of the experiment.
        study: The study's name.
        tags: Tags for every run.
        parent: Id of the study's own run; empty until it is known.
    """

    client: "MlflowClient"
    experiment: str
    study: str
    tags: Mapping[str, str]
    parent: str = ""

    def children(self, *conditions: str) -> "list[Run]":
        """Returns the runs of attempts that meet conditions in MLflow's filter language."""
        below = f"tags.`{PARENT_TAG}` = '{self.parent}'"
        return find_runs(self.client, self.experiment, below, "tags.kind = 'trial'", *conditions)

    def create_parent(self, started: float) -> str:
        """Returns the id of a new run for the study itself, or of the one that an earlier call made.

        Args:
            started: Unix time in seconds.
        """
        begun = f"attributes.start_time = {milliseconds(started)}"
        made = find_runs(self.client, self.experiment, "tags.kind = 'study'", begun)
        ids = [run.info.run_id for run in made if run.data.tags["study"] == self.study]
        return ids[0] if ids else self._create(self.study, {"kind": "study"}, started)

    def create_child(self, name: str, tags: Mapping[str, str], started: float) -> str:
        """Returns the id of a new run for an attempt, or of the one that an earlier call made.

        Args:
            name: The run's name.
            tags: Tags, besides those of every run; ``trial`` is the trial's number.
            started: Unix time in seconds, which tells the attempts at a trial apart.
        """
        same = self.children(f"tags.trial = '{tags['trial']}'")
        ids = [run.info.run_id for run in same if run.info.start_time == milliseconds(started)]
        run_id = ids[0] if ids else self._create(name, {"kind": "trial", PARENT_TAG: self.parent, **tags}, started)
        if "retry_of" in tags or len(same) > len(ids):
            self.mark_superseded(tags)
        return run_id

    def end_child(self, run: "Run", outcome: Outcome, tags: Mapping[str, str]) -> None:
        """Ends the run of an attempt whose process ended without a word.

        Args:
            run: The run.
            outcome: How the attempt ended.
            tags: Tags to add.
        """
        from mlflow.entities import RunTag

        self.client.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        if outcome in ATTEMPTED_AGAIN:
            self.mark_superseded(run.data.tags)
        self.client.set_terminated(run.info.run_id, STATUS[outcome])

    def mark_superseded(self, tags: Mapping[str, str]) -> None:
        """Marks all attempts at a trial but the last one, so that a filter can leave them out.

        Whoever logs an attempt does this, whether it is the later or the earlier one: either may be logged first.

        Args:
            tags: Of an attempt.
        """
        numbers = {tags["trial"], tags.get("retry_of", tags["trial"])}
        found = [
            run
            for number in numbers
            for place in ("trial", "retry_of")
            for run in self.children(f"tags.{place} = '{number}'")
        ]
        attempts = {run.info.run_id: run for run in found}.values()
        ordered = sorted(attempts, key=lambda run: (int(run.data.tags["trial"]), run.info.start_time))
        for run in ordered[:-1]:
            if SUPERSEDED not in run.data.tags:
                self.client.set_tag(run.info.run_id, SUPERSEDED, ordered[-1].data.tags["trial"])

    def _create(self, name: str, tags: Mapping[str, str], started: float) -> str:
        run = self.client.create_run(
            self.experiment,
            start_time=milliseconds(started),
            run_name=name,
            tags={**self.tags, "study": self.study, **tags},
        )
        return str(run.info.run_id)
