"""A study's runs in a tracking store: one for the study, and below it one for each trial, as its storage has them.

Everything goes through `MlflowClient` with explicit run ids. The store may fail at any request: what was half written
differs from what is expected, and is written again; MLflow keeps equal points once. One process at a time writes what
has ended (see `pipeline.storage.lease`); each process writes the trials that it runs itself, while they run.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.figures.canvas import png
from pipeline.figures.gradient_flow import draw_gradient_flow
from pipeline.tracking.attach import attach, show_image
from pipeline.tracking.axes import Axes
from pipeline.tracking.expected_run import (
    PARENT_TAG,
    SUPERSEDED,
    ExpectedRun,
    Point,
    TrialRecord,
    differences,
    expected_run,
)
from pipeline.tracking.store import find_runs
from pipeline.tracking.study_run import StudyRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from pipeline.records.results import Outcome

FIGURE = "gradient_flow"


class Mirror(StudyRun):
    """Writes a study's runs, and compares them with the storage.

    Args: As `StudyRun`'s.

    Attributes:
        runs: The runs of trials, as they were when they were looked at, by the trials' numbers.
    """

    def __init__(
        self, client: "MlflowClient", experiment: str, study: str, *, tags: Mapping[str, str], axes: Axes
    ) -> None:
        super().__init__(client, experiment, study, tags=tags, axes=axes)
        self.runs: dict[int, Run] = {}
        self._live: dict[int, int] = {}  # by number: the last epoch that was sent while the trial ran
        self._agreed: dict[int, tuple[Outcome, int | None]] = {}  # and which trial tries this one again

    def look(self) -> None:
        """Looks at the runs of all trials. Of several runs of a trial, which two processes made at once, one stays."""
        self.runs = {}
        for run in sorted(self._children(), key=lambda run: str(run.info.run_id)):
            number = int(run.data.tags["trial"])
            if number in self.runs:
                self.client.delete_run(run.info.run_id)
            else:
                self.runs[number] = run

    def look_at_open(self) -> None:
        """Looks at the runs that other processes may have begun while their trials ran."""
        for condition in ("attributes.status = 'RUNNING'", "tags.outcome = 'interrupted'"):
            for run in self._children(condition):
                number = int(run.data.tags["trial"])
                if number not in self._agreed:
                    self.runs.setdefault(number, run)

    def expected(self, record: TrialRecord) -> ExpectedRun:
        """Returns what the run of a trial should be."""
        return expected_run(record, study=self.study, axes=self.axes)

    def disagreements(self, records: Sequence[TrialRecord]) -> dict[int, list[str]]:
        """Compares the runs that `look` has seen with the storage, trial by trial.

        Args:
            records: All trials of the storage. One that runs, or waits and has no run, disagrees with nothing.

        Returns:
            In what a trial's run is wrong, in words; nothing for those that agree.
        """
        found: dict[int, list[str]] = {}
        for record in records:
            run = self.runs.get(record.number)
            if run is None and record.result is not None:
                found[record.number] = ["it has no run"]
            elif run is not None and record.outcome is not None:
                found[record.number] = differences(self.expected(record), run)
        known = {record.number for record in records}
        found |= {number: ["the storage has no such trial"] for number in self.runs.keys() - known}
        return {number: wrong for number, wrong in sorted(found.items()) if wrong}

    def trust(self, records: Sequence[TrialRecord]) -> None:
        """Takes note of the trials that agree, after `look`: they need not be written."""
        wrong = self.disagreements(records)
        for record in records:
            if record.result is not None and record.number not in wrong:
                self._agree(record)

    def is_written(self, record: TrialRecord) -> bool:
        """Returns whether there is nothing to write of a trial: it agrees, or has neither an end nor a run."""
        if record.outcome is None or (record.result is None and record.number not in self.runs):
            return True
        return self._agreed.get(record.number) == (record.outcome, record.retried_as)

    def write(self, record: TrialRecord) -> None:
        """Writes the run of a trial that has ended, or waits to be resumed."""
        from mlflow.entities import RunTag

        number = record.number
        run: Run | None = self.runs.get(number)
        expected = self.expected(record)
        if (agreed := self._agreed.get(number)) is not None and agreed[0] == record.outcome and run is not None:
            self.client.set_tag(run.info.run_id, SUPERSEDED, expected.tags[SUPERSEDED])  # all that can have changed
        else:
            if run is not None and any(
                run.data.params.get(name, value) != value for name, value in expected.params.items()
            ):
                self.client.delete_run(run.info.run_id)  # parameters cannot be changed
                self._live.pop(number, None)
                run = None
            tags = {} if run is None else expected.tags
            run = run or self._create_child(expected)
            points = [p for p in expected.points if p.step > self._live.get(number, 0) or p.at == expected.ended]
            self._log(run.info.run_id, points, expected.params, [RunTag(*tag) for tag in tags.items()])
            if record.result is not None and record.result.traceback is not None:
                self.client.log_text(run.info.run_id, record.result.traceback, "traceback.txt")
            self.client.set_terminated(run.info.run_id, expected.status, end_time=expected.ended)
        self._live.pop(number, None)
        self._agree(record)

    def begin_live(self, record: TrialRecord) -> None:
        """Begins, or opens again, the run of a trial that this process runs, so that it can be watched."""
        number = record.number
        if number not in self.runs:  # it may have been resumed, and have one from another process
            for found in self._children(f"tags.trial = '{number}'"):
                self.runs[number] = found
        self._agreed.pop(number, None)
        expected = self.expected(record)
        run = self.runs.get(number)
        if run is None:
            run = self._create_child(expected)
        else:
            self.client.update_run(run.info.run_id, status="RUNNING")
        self._log(run.info.run_id, [], expected.params, [])
        self._live[number] = 0

    def log_live(self, number: int, points: Sequence[Point], *, epoch: int) -> None:
        """Adds points to the run of a trial that runs.

        Args:
            number: The trial's.
            points: The points.
            epoch: The last one whose points of curves have been sent.
        """
        if points and number in self._live:
            self._log(self.runs[number].info.run_id, points, {}, [])
            self._live[number] = epoch

    def end_live(self, record: TrialRecord) -> None:
        """Says of a trial that this process ran that it waits to be resumed; of one that has ended, `write` tells."""
        if record.number in self._live and record.outcome == "interrupted":
            self.write(record)

    def draw_best(self, best: TrialRecord) -> None:
        """Draws the best trial's gradient flow, as a file and for the grid of images; the report draws others'."""
        flow = best.curves.get(FIGURE, [])
        if not flow or best.number not in self.runs:
            return
        run_id = self.runs[best.number].info.run_id
        if any(artifact.path == f"{FIGURE}.png" for artifact in self.client.list_artifacts(run_id)):
            return
        verdict = None if best.result is None else best.result.verdict
        said = "" if verdict is None else f"\n{verdict.label}: {verdict.text}"
        gradients = {int(epoch): layers for epoch, layers in flow}
        image = png(draw_gradient_flow(gradients, f"{self.expected(best).name}{said}"))
        show_image(self.client, run_id, FIGURE, image)
        attach(self.client, run_id, {f"{FIGURE}.png": image})

    def _agree(self, record: TrialRecord) -> None:
        assert record.outcome is not None
        self._agreed[record.number] = (record.outcome, record.retried_as)

    def _children(self, *conditions: str) -> "list[Run]":
        """Returns the runs of trials that meet conditions in MLflow's filter language."""
        below = f"tags.`{PARENT_TAG}` = '{self.parent}'"
        return find_runs(self.client, self.experiment, below, "tags.kind = 'trial'", *conditions)

    def _create_child(self, expected: ExpectedRun) -> "Run":
        tags: dict[str, Any] = {**self.tags, **expected.tags, PARENT_TAG: self.parent}
        run = self.client.create_run(self.experiment, start_time=expected.started, run_name=expected.name, tags=tags)
        self.runs[int(expected.tags["trial"])] = run
        return run
