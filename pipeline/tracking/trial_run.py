"""The run of one attempt at a trial.

Metrics go in batches every few seconds, so that curves can be watched and a trial's end costs little. What was handed
over is forgotten only when the store has it, and is sent again as it was, times included: MLflow keeps equal points
once.
"""

import time

from pipeline.events import TrialStarted
from pipeline.figures.canvas import png
from pipeline.figures.gradient_flow import draw_gradient_flow
from pipeline.records import EpochResult, LayerFlow, TrialResult
from pipeline.tracking.attach import attach, show_image
from pipeline.tracking.axes import Axes
from pipeline.tracking.naming import attempt_tags, curves_of, metrics_of, params_of, run_name, tags_of
from pipeline.tracking.runs import ATTEMPTED_AGAIN, STATUS, StudyRuns, milliseconds
from pipeline.yaml_text import dump

FLUSH_SECONDS = 5.0


class TrialRun:
    """Logs an attempt; every method may be called again after an error.

    Args:
        runs: Where.
        started: The attempt.
        axes: What charts must know of the space.

    Attributes:
        run_id: Its run; None as long as nothing has been sent.
    """

    def __init__(self, runs: StudyRuns, started: TrialStarted, axes: Axes) -> None:
        self.runs, self.started, self.axes = runs, started, axes
        self.run_id: str | None = None
        self.name = run_name(started.number, started.config, started.params, started.retry)
        self._has_params = False
        self._unsent: dict[int, tuple[EpochResult, int]] = {}  # by epoch; with the time in milliseconds
        self._flow: dict[int, tuple[LayerFlow, ...]] = {}  # by epoch
        self._ended: int | None = None  # in milliseconds
        self._flushed = time.monotonic()

    def epoch(self, result: EpochResult) -> None:
        """Logs an epoch, not necessarily at once."""
        self._unsent.setdefault(result.epoch, (result, milliseconds(time.time())))
        if result.gradient_flow:
            self._flow[result.epoch] = result.gradient_flow
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush(None)

    def end(self, result: TrialResult) -> None:
        """Logs how the attempt ended, and ends its run."""
        run_id = self._flush(result)
        client = self.runs.client
        client.log_text(run_id, dump({"space": self.started.config}), "config.yaml")
        if result.traceback is not None:
            client.log_text(run_id, result.traceback, "traceback.txt")
        if self._flow and _is_worth_a_figure(result):
            self._show_gradient_flow(run_id, result)
        if result.outcome in ATTEMPTED_AGAIN:
            self.runs.mark_superseded(attempt_tags(self.started))
        ended = self.started.started + result.seconds
        client.set_terminated(run_id, STATUS[result.outcome], end_time=milliseconds(ended))

    def _show_gradient_flow(self, run_id: str, result: TrialResult) -> None:
        """Adds the figure, as a file and to the grid of images in which MLflow compares runs."""
        image = png(draw_gradient_flow(self._flow, self.name, result.verdict))
        attach(self.runs.client, run_id, {"gradient_flow.png": image})
        show_image(self.runs.client, run_id, "gradient_flow", image)

    def _flush(self, result: TrialResult | None) -> str:
        """Sends what has gathered since the last time; the parameters at first, the result at last."""
        from mlflow.entities import Metric, Param, RunTag

        started = self.started
        if self.run_id is None:
            tags = {"dataset": str(started.config["data"]["name"]), **attempt_tags(started)}
            self.run_id = self.runs.create_child(self.name, tags, started.started)
        params: list[Param] = []
        if not self._has_params:
            named = {"study": self.runs.study, **params_of(started.config, self.axes)}  # no axis can be a tag
            named |= {name: str(value) for name, value in started.params.items() if name == "case"}
            params = [Param(name, value) for name, value in named.items()]
        metrics = [
            Metric(name, value, at, epoch.epoch)
            for epoch, at in self._unsent.values()
            for name, value in curves_of(epoch).items()
        ]
        final: list[RunTag] = []
        if result is not None:
            self._ended = self._ended or milliseconds(time.time())
            metrics += [Metric(name, value, self._ended, result.epochs) for name, value in metrics_of(result).items()]
            final = [RunTag(name, value) for name, value in tags_of(result).items()]
        self.runs.client.log_batch(self.run_id, metrics=metrics, params=params, tags=final)
        self._has_params = True
        self._unsent.clear()
        self._flushed = time.monotonic()
        return self.run_id


def _is_worth_a_figure(result: TrialResult) -> bool:
    """To draw costs as much as all the rest of a trial's log: a healthy trial that was pruned has none."""
    return result.outcome == "complete" or (result.verdict is not None and result.verdict.word != "healthy")
