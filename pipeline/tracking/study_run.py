"""A study's own run in a tracking store; its trials' are below it (`pipeline.tracking.mirror`)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.tracking.axes import Axes
from pipeline.tracking.expected_run import (
    STATUS,
    ExpectedRun,
    Point,
    StudyRecord,
    differences,
    milliseconds,
)
from pipeline.tracking.naming import NOTE, metric_key
from pipeline.tracking.note import study_note
from pipeline.tracking.store import METRICS, find_runs, is_active
from pipeline.tracking.ui.view import save_view, view_path

if TYPE_CHECKING:
    from mlflow import MlflowClient


class StudyRun:
    """Writes a study's own run and its prepared view, and compares it with the storage.

    Args:
        client: The tracking store.
        experiment: Id of the experiment.
        study: The study's name.
        tags: What new runs say of this process and its machine.
        axes: What charts must know of the space.

    Attributes:
        parent: Its id, after `adopt`.
    """

    def __init__(
        self, client: "MlflowClient", experiment: str, study: str, *, tags: Mapping[str, str], axes: Axes
    ) -> None:
        self.client, self.experiment, self.study, self.tags, self.axes = client, experiment, study, tags, axes
        self.parent = ""

    def adopt(self, parent: str | None, started: float) -> str:
        """Goes on with the study's run, or finds or makes one; returns its id.

        Args:
            parent: Its id, if the study's storage knows one.
            started: Unix time in seconds at which the study began.
        """
        if parent is None or not is_active(self.client, parent):
            made = find_runs(self.client, self.experiment, "tags.kind = 'study'", f'tags.study = "{self.study}"')
            tags = {**self.tags, "study": self.study, "kind": "study"}
            parent = made[0].info.run_id if made else self._create(self.study, tags, milliseconds(started))
        self.parent = parent
        return parent

    def begin_study(self, record: StudyRecord) -> None:
        """Opens the study's run, and prepares its view."""
        from mlflow.entities import RunTag

        tags = {**self.tags, "dataset": record.data.name, METRICS: ", ".join(record.metrics)}
        self.client.log_batch(self.parent, tags=[RunTag(*tag) for tag in tags.items()])
        self.client.update_run(self.parent, status="RUNNING")
        searched_paths = [] if record.space is None else [parameter.path for parameter in record.space.parameters()]
        axes = self.axes.differing(self.axes.examples, searched_paths)
        save_view(self.client, self.experiment, self.study, metrics=record.metrics, axes=axes, anew=False)

    def study_differs(self, record: StudyRecord) -> bool:
        """Returns whether the study's run says something else than the storage."""
        return bool(differences(self._expected_study_run(record), self.client.get_run(self.parent)))

    def write_study(self, record: StudyRecord) -> None:
        """Writes the study's run, ends it if the study has ended, and saves its view with what differs by now."""
        from mlflow.entities import RunTag

        expected = self._expected_study_run(record)
        self._log(self.parent, expected.points, {}, [RunTag(*tag) for tag in expected.tags.items()])
        if record.best_config is not None:
            self.client.log_text(self.parent, record.best_config, "best_config.yaml")
        axes = self.axes.differing(record.configs, record.searched_paths)
        save_view(self.client, self.experiment, self.study, metrics=record.metrics, axes=axes, anew=True)
        if record.outcome is not None:
            self.client.set_terminated(self.parent, expected.status, end_time=expected.ended)

    def _expected_study_run(self, record: StudyRecord) -> ExpectedRun:
        at = milliseconds(record.ended)
        note = study_note(
            self.study,
            space=record.space,
            metrics=record.metrics,
            data=record.data,
            totals=record.totals,
            best_trial=None if record.best is None else record.best.number,
            chosen=record.chosen,
            view=view_path(self.experiment, self.study),
            run=f"/#/experiments/{self.experiment}/runs/{self.parent}",
        )
        ended = {} if record.outcome is None else {"outcome": record.outcome}
        return ExpectedRun(
            name=self.study,
            status="RUNNING" if record.outcome is None else STATUS[record.outcome],
            started=milliseconds(record.started),
            ended=None if record.outcome is None else at,
            tags={METRICS: ", ".join(record.metrics), NOTE: note, **ended},
            params={},
            points=[Point(metric_key(name), value, at, 0) for name, value in record.totals.items()],
        )

    def _create(self, name: str, tags: dict[str, Any], started: int) -> str:
        return str(self.client.create_run(self.experiment, start_time=started, run_name=name, tags=tags).info.run_id)

    def _log(self, run_id: str, points: Sequence[Point], params: Mapping[str, str], tags: Sequence[Any]) -> None:
        """Sends all at once; the client divides what is more than MLflow takes in a request."""
        from mlflow.entities import Metric, Param

        self.client.log_batch(
            run_id,
            metrics=[Metric(point.metric, point.value, point.at, point.step) for point in points],
            params=[Param(*param) for param in params.items()],
            tags=tags,
        )
