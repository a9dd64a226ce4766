"""What the tests of a study's log share: events, its beginning and end, a client that fails, and what is stored."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from PIL import Image

from pipeline.config import DataConfig, TrialConfig
from pipeline.records import DataSummary, EpochResult, LayerFlow, Outcome
from pipeline.space_file import read_space
from pipeline.tracking.store import find_runs
from pipeline.tracking.study_log import StudyLog
from pipeline.training_config import NAdam
from pipeline.yaml_text import parse

SPACE = read_space(
    parse("space: {data: {name: digits}, optimizer: {kind: nadam, lr: {float: [1e-3, 0.1], log: true}}}", "s.yaml"), "s"
).space
CONFIG = TrialConfig(data=DataConfig(name="digits"), optimizer=NAdam(lr=0.01)).plain()
DATA = DataSummary("digits", 1000, 200, 10, (1, 8, 8), "cpu")
# Those whose every point is compared: of an epoch, of its gradient flow, of a trial's end and of the study.
CURVES = ("valid_accuracy", "gradient_flow/gradient/01", "best_valid_loss", "seconds")
WRITES = ("create_run", "delete_run", "log_artifact", "log_batch", "log_image", "log_text")
WRITES += ("set_experiment_tag", "set_tag", "set_terminated", "update_run")


def epoch(number: int, accuracy: float = 0.5, layers: tuple[LayerFlow, ...] = ()) -> EpochResult:
    return EpochResult(number, 0.5, 0.8, 0.4, accuracy, 0.01, 1.5, 0.25, 1000.0, 0.1, True, layers)


def running(number: int) -> Outcome | None:
    """The fate of trials that all run."""
    return None


def start(log: StudyLog, parent: str | None = None, fate: Callable[[int], Outcome | None] = running) -> str:
    return log.begin(DATA, parent=parent, space=SPACE, metrics=("valid_accuracy",), fate=fate)


def finish(log: StudyLog, outcome: Outcome = "complete", *, others_run: bool = False) -> str | None:
    return log.end(
        outcome,
        others_run=others_run,
        figures={"seconds": 3.0, "trials_complete": 1.0, "best_valid_accuracy": 0.6},
        best_trial=0,
        best_config="x: 1",
        chosen=None,
        configs=[CONFIG],
        searched=[],
    )


def close(log: StudyLog) -> None:
    """Lets a process die without a word, when all that it was told has been logged."""
    assert log.background is not None
    log.background.close()
    assert log.background.error is None


def runs_of(log: StudyLog, number: int) -> list[Any]:
    """The runs of a trial's attempts under this number, in their order."""
    return sorted(
        find_runs(log.client, log.experiment, f"tags.trial = '{number}'"), key=lambda run: run.info.start_time
    )


def run_of(log: StudyLog, number: int) -> Any:
    (run,) = runs_of(log, number)
    return run


class FailingClient:
    """A client some of whose calls raise; the rest goes to a real one.

    Args:
        client: The real one.
        methods: The calls that are counted.
        fails: Numbers of those that raise, from 0; None for each that was not made before.
        lost: Whether a call that raises is carried out nevertheless: its answer is lost.
        error: What it raises.
    """

    def __init__(
        self,
        client: MlflowClient,
        methods: Collection[str],
        fails: Collection[int] | None,
        lost: bool = False,
        error: type[Exception] = ConnectionError,
    ) -> None:
        self.client, self.methods, self.fails, self.lost, self.error = client, methods, fails, lost, error
        self.calls: list[str] = []
        self.num_failed = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.client, name)
        if name not in self.methods:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            words = [each.format if isinstance(each, Image.Image) else str(each) for each in args]
            what = [Path(each).name for each in words]  # folders are temporary
            which = f"{name} {what} {kwargs}"
            fails = which not in self.calls if self.fails is None else len(self.calls) in self.fails
            self.calls.append(which)
            if fails:
                self.num_failed += 1
                if self.lost:
                    real(*args, **kwargs)
                raise self.error("the server is gone")
            return real(*args, **kwargs)

        return call


def stored(log: StudyLog) -> list[Any]:
    """All that a store has of an experiment, but for ids and times of its own."""
    client = log.client
    found = []
    for run in find_runs(client, log.experiment, "attributes.status != 'SCHEDULED'"):
        run_id = run.info.run_id
        names = [name for name in CURVES if name in run.data.metrics]
        histories = {name: client.get_metric_history(run_id, name) for name in names}
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        found.append(
            (
                (run.info.run_name, run.info.status, run.info.start_time if "trial" in tags else None),
                (tags, "mlflow.parentRunId" in run.data.tags, run.data.params, run.data.metrics),
                {name: sorted((point.step, point.value) for point in points) for name, points in histories.items()},
                [artifact.path for artifact in client.list_artifacts(run_id)],
            )
        )
    views = [value for name, value in client.get_experiment(log.experiment).tags.items() if "sharedView" in name]
    return [sorted(found, key=str), views]
