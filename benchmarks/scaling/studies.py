"""Whole studies, each in a fresh process: a second one in the same process would find its workers' imports done."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scaling.crew import Crew
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.records.events import EpochEnded, Event, TrialEnded, TrialStarted
from pipeline.records.results import DataSummary
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import parse
from pipeline.workers.run import run_study


@dataclass
class Stopwatch:
    """Notes when trials start and end (Unix time, the workers' own), and what they draw."""

    starts: dict[int, float] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)
    params: dict[int, dict[str, Any]] = field(default_factory=dict)
    training: dict[int, float] = field(default_factory=dict)

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None:
        """Nothing to note."""

    def event(self, event: Event) -> None:
        """A trial has started or ended, or an epoch of it has."""
        match event:
            case TrialStarted(number=number):
                self.starts[number], self.params[number], self.training[number] = event.started, event.params, 0.0
            case EpochEnded(number=number, result=epoch):
                self.training[number] += epoch.seconds
            case TrialEnded(number=number, result=result):
                if result.outcome != "complete" or result.duplicate_of is not None:
                    raise SystemExit(f"trial {number} {result.outcome} ({result.reason}): the times would tell nothing")
                self.ends[number] = self.starts[number] + result.seconds

    def tick(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class TimedStudy:
    """A study that has ended: when it was called (Unix time), seconds until `run_study` returned, and its trials."""

    called: float
    seconds: float
    trials: Stopwatch

    @property
    def startup(self) -> float:
        """Seconds from the call to the first trial."""
        return min(self.trials.starts.values()) - self.called

    @property
    def span(self) -> float:
        """Seconds from the first trial's start to the last one's end."""
        return max(self.trials.ends.values()) - min(self.trials.starts.values())


def space_of(text: str, settings: dict[str, object]) -> SpaceFile:
    """Reads a space, with settings that replace what it says."""
    overrides = [Override(path, str(value), path) for path, value in settings.items()]
    return read_space(parse(text, "the space"), "scaling", overrides)


def timed_study(file: SpaceFile, *, workers: int) -> TimedStudy:
    """Runs a study with workers of one thread, in a process and a workspace of its own."""
    with tempfile.TemporaryDirectory() as folder, Crew(1) as crew:
        timed = crew.timed(_study, [(file, workers, Path(folder))])
    return TimedStudy(timed.began, timed.seconds, timed.results[0])


def _study(file: SpaceFile, workers: int, workspace: Path) -> Callable[[], Stopwatch]:
    def job() -> Stopwatch:
        watch = Stopwatch()
        run_study(
            file.space,
            file.study,
            name=file.name,
            workspace=Workspace(workspace),
            compute=Compute(workers, threads=1, device="cpu"),
            observer=watch,
        )
        return watch

    return job
