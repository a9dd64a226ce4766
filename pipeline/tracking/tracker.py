"""A study's runs in MLflow: one for the study, one below it for each trial.

Everything goes through `MlflowClient` with explicit run ids: no global state, no active run. A trial's metrics go in
batches every few seconds, so that its curves can be watched and its end costs little.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.figures.canvas import png
from pipeline.figures.gradient_flow import draw_gradient_flow
from pipeline.records import EpochEnded, EpochResult, Event, LayerFlow, Outcome, TrialEnded, TrialResult, TrialStarted
from pipeline.tracking.attach import attach
from pipeline.tracking.naming import curves_of, metrics_of, params_of, run_name, tags_of
from pipeline.yaml_text import dump

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FLUSH_SECONDS = 5.0
# MLflow's limits for one request.
MAX_METRICS, MAX_PARAMS = 1000, 100
STATUS: dict[Outcome, str] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "diverged": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
PARENT_TAG = "mlflow.parentRunId"


@dataclass
class _OpenRun:
    """A trial whose run has not ended."""

    started: TrialStarted
    run_id: str | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    flow: dict[int, tuple[LayerFlow, ...]] = field(default_factory=dict)  # by epoch
    flushed: float = field(default_factory=time.monotonic)


class StudyTracker:
    """Logs one study.

    Args:
        client: The tracking store.
        experiment: Id of the experiment.
        study: The study's name.
        parent: Id of the study's own run, if it has one from before.
        tags: Tags for every run.
        log_scaled: Settings that the space searches on a logarithmic scale; they also get a base-10 logarithm, since
            MLflow's axes are linear.
    """

    def __init__(
        self,
        client: "MlflowClient",
        *,
        experiment: str,
        study: str,
        parent: str | None,
        tags: Mapping[str, str],
        log_scaled: frozenset[str] = frozenset(),
    ) -> None:
        self.client, self.experiment, self.study = client, experiment, study
        self.tags, self.log_scaled = dict(tags), log_scaled
        self.open: dict[int, _OpenRun] = {}
        if parent is not None and self._exists(parent):
            self.parent = parent
            self._end_stale()
            client.update_run(parent, status="RUNNING")
        else:
            self.parent = self._create(study, {"kind": "study"}, time.time())
        for name, value in self.tags.items():
            client.set_tag(self.parent, name, value)

    def handle(self, event: Event) -> None:
        """Logs what happened."""
        if isinstance(event, TrialStarted):
            self.open[event.number] = _OpenRun(event)
        elif isinstance(event, EpochEnded) and event.number in self.open:
            run = self.open[event.number]
            run.epochs.append(event.result)
            if event.result.gradient_flow:
                run.flow[event.result.epoch] = event.result.gradient_flow
            if time.monotonic() - run.flushed >= FLUSH_SECONDS:
                self._flush(run)
        elif isinstance(event, TrialEnded) and event.number in self.open:
            self._end(self.open.pop(event.number), event.result)

    def end(self, outcome: Outcome, *, metrics: Mapping[str, float], config: str | None) -> None:
        """Ends the study's own run.

        Args:
            outcome: How the study ended.
            metrics: Figures of the whole study.
            config: The best configuration as YAML, if there is one.
        """
        from mlflow.entities import Metric

        now = _milliseconds(time.time())
        self.client.log_batch(self.parent, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])
        self.client.set_tag(self.parent, "outcome", outcome)
        if config is not None:
            self.client.log_text(self.parent, config, "best_config.yaml")
        self.client.set_terminated(self.parent, STATUS[outcome])

    def _create(self, name: str, tags: Mapping[str, str], started: float) -> str:
        run: Run = self.client.create_run(
            self.experiment,
            start_time=_milliseconds(started),
            run_name=name,
            tags={**self.tags, "study": self.study, **tags},
        )
        return str(run.info.run_id)

    def _flush(self, run: _OpenRun, result: TrialResult | None = None) -> str:
        """Sends what has gathered since the last time; the parameters at first, the result at last."""
        from mlflow.entities import Metric, Param, RunTag

        now = _milliseconds(time.time())
        params: list[Param] = []
        if run.run_id is None:
            config = run.started.config
            name = run_name(run.started.number, config, run.started.params)
            labels = {"kind": "trial", PARENT_TAG: self.parent, "dataset": str(config["data"]["name"])}
            run.run_id = self._create(name, {**labels, "trial": str(run.started.number)}, run.started.started)
            named = params_of(config, self.log_scaled) | {
                k: str(v) for k, v in run.started.params.items() if k == "case"
            }
            params = [Param(key, value) for key, value in named.items()]
        metrics: list[Metric] = [
            Metric(name, value, now, epoch.epoch) for epoch in run.epochs for name, value in curves_of(epoch).items()
        ]
        tags: list[RunTag] = []
        if result is not None:
            metrics += [Metric(name, value, now, result.epochs) for name, value in metrics_of(result).items()]
            tags = [RunTag(name, value) for name, value in tags_of(result).items()]
        run.epochs = []
        self.client.log_batch(run.run_id, metrics=metrics[:MAX_METRICS], params=params[:MAX_PARAMS], tags=tags)
        for start in range(MAX_METRICS, len(metrics), MAX_METRICS):
            self.client.log_batch(run.run_id, metrics=metrics[start : start + MAX_METRICS])
        run.flushed = time.monotonic()
        return run.run_id

    def _end(self, run: _OpenRun, result: TrialResult) -> None:
        run_id = self._flush(run, result)
        self.client.log_text(run_id, dump({"space": run.started.config}), "config.yaml")
        if result.traceback is not None:
            self.client.log_text(run_id, result.traceback, "traceback.txt")
        if run.flow and _is_worth_a_figure(result):
            self._log_figure(run_id, run, result)
        ended = run.started.started + result.seconds
        self.client.set_terminated(run_id, STATUS[result.outcome], end_time=_milliseconds(ended))

    def _log_figure(self, run_id: str, run: _OpenRun, result: TrialResult) -> None:
        started = run.started
        title = run_name(started.number, started.config, started.params)
        figure = draw_gradient_flow(run.flow, title, result.verdict)
        attach(self.client, run_id, {"gradient_flow.png": png(figure)})

    def _exists(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException:  # another store than the last time, or somebody deleted it
            return False

    def _end_stale(self) -> None:
        """Ends the runs of trials whose process ended without a word."""
        children = self.client.search_runs(
            [self.experiment], f"tags.`{PARENT_TAG}` = '{self.parent}' and attributes.status = 'RUNNING'"
        )
        for child in children:
            self.client.set_tag(child.info.run_id, "outcome", "interrupted")
            self.client.set_terminated(child.info.run_id, STATUS["interrupted"])


def _is_worth_a_figure(result: TrialResult) -> bool:
    """To draw costs as much as all the rest of a trial's log: a healthy trial that was pruned has none."""
    return result.outcome == "complete" or (result.verdict is not None and result.verdict.word != "healthy")


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
