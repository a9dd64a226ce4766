"""What passes between the supervisor and its workers. No torch here: the supervisor does not need it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.config import TrialConfig
from pipeline.model_config import BackboneConfig
from pipeline.records import Event
from pipeline.study_config import StudyConfig


@dataclass(frozen=True)
class Task:
    """What a worker needs to know.

    Attributes:
        storage: URL of the study's storage.
        study_name: The study's name there.
        study: Its settings.
        sample: From an Optuna trial to a configuration.
        example: Any configuration that it can return.
        backbones: The backbones that it can name, to be had before the first trial.
        most_unfrozen: The most top stages that it can train.
        cache_dir: Where the output of frozen layers is kept.
        data_dir: Where data sets are looked for first.
        device: auto, cpu, cuda or cuda:N.
        threads: Threads that the worker computes with.
        worker: Its number, from 0.
    """

    storage: str
    study_name: str
    study: StudyConfig
    sample: Callable[..., TrialConfig]
    example: TrialConfig
    backbones: tuple[BackboneConfig, ...]
    most_unfrozen: int
    cache_dir: Path
    data_dir: str | None
    device: str
    threads: int
    worker: int


class SupervisorGoneError(Exception):
    """Nobody listens to the worker any more."""


class Channel(Protocol):
    """The worker's side of its connection to the supervisor; each call may raise `SupervisorGoneError`."""

    def emit(self, event: Event) -> None:
        """Tells what happened."""

    def wait_for_trial(self) -> bool:
        """Asks for a trial; returns False when the worker is to end."""

    def stopping(self) -> bool:
        """Returns whether the trial that runs should give up."""
