"""What passes between the supervisor and its workers. No torch here: the supervisor does not need it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna

from pipeline.config.kinds import BUILT_IN, kinds
from pipeline.config.model import BackboneConfig, HeadConfig, ModelBlock
from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.plugins.loading import Plugin, load, loaded_plugins
from pipeline.records.events import Event
from pipeline.space.tree import SearchSpace
from pipeline.study.studies import ConfigSource


@dataclass(frozen=True)
class Task:
    """What a worker needs to know.

    Attributes:
        study_name: The study's name.
        study: Its settings.
        sample: From an Optuna trial to a configuration.
        example: Any configuration that it can return.
        backbones: The backbones that it can name, to be had before the first trial.
        most_unfrozen: The most top stages that it can train.
        workspace: Where the study is kept; the same for a process with another working directory.
        compute: What it runs on; how many threads each worker has is known.
        worker: Its number, from 0.
        models: A network of each kind that plug-ins add and that it can name, to be built before the first trial.
        plugins: What must be loaded before any of this can be read in another process.
    """

    study_name: str
    study: StudyConfig
    sample: Callable[..., TrialConfig]
    example: TrialConfig
    backbones: tuple[BackboneConfig, ...]
    most_unfrozen: int
    workspace: Workspace
    compute: Compute
    worker: int
    models: tuple[ModelBlock, ...] = ()
    plugins: tuple[Plugin, ...] = ()

    def __reduce__(self) -> tuple[Callable[..., "Task"], tuple[object, ...], dict[str, object]]:
        return _blank_task, (self.plugins,), self.__dict__

    @property
    def threads(self) -> int:
        """Threads that the worker computes with."""
        assert self.compute.threads is not None
        return self.compute.threads


def _blank_task(plugins: tuple[Plugin, ...]) -> Task:
    """Returns a task that pickle fills: what is in it may be of classes that plug-ins define."""
    load(plugins)
    return Task.__new__(Task)


def tasks_of(
    config_source: ConfigSource, settings: StudyConfig, name: str, workspace: Workspace, compute: Compute
) -> list[Task]:
    """Returns the tasks of a study's workers.

    Args:
        config_source: What the study searches.
        settings: How.
        name: Its name.
        workspace: Where it is kept.
        compute: What it runs on; its threads are known.
    """
    space = config_source if isinstance(config_source, SearchSpace) else None
    sample = config_source.sample if isinstance(config_source, SearchSpace) else config_source
    example = _example(space, sample)
    return [
        Task(
            study_name=name,
            study=settings,
            sample=sample,
            example=example,
            backbones=_backbones(space, example),
            most_unfrozen=_most_unfrozen(space, example),
            models=_models(space, example),
            workspace=workspace.anywhere(),
            compute=compute,
            worker=worker,
            plugins=loaded_plugins(),
        )
        for worker in range(compute.workers)
    ]


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


def _example(space: SearchSpace | None, sample: Callable[[optuna.Trial], TrialConfig]) -> TrialConfig:
    """Returns a configuration that the study may draw, of those with the most epochs."""
    if space is not None:
        return max(space.boundary_configs(["epochs"]), key=lambda config: config.epochs)
    return sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())


def _boundary_configs(space: SearchSpace | None, example: TrialConfig, paths: Sequence[str]) -> Iterator[TrialConfig]:
    """Returns configurations with all that a space admits at some places; of a function, what it has drawn."""
    return iter([example]) if space is None else space.boundary_configs(paths)


def _backbones(space: SearchSpace | None, example: TrialConfig) -> tuple[BackboneConfig, ...]:
    """Returns the different backbones that a study may draw, their heads set aside."""
    workspace = ("kind", "name", "pretrained", "drop_top_stages", "drop_path", "image_size")
    models = (config.model for config in _boundary_configs(space, example, [f"model.{field}" for field in workspace]))
    bare = (model.model_copy(update={"head": HeadConfig()}) for model in models if isinstance(model, BackboneConfig))
    return tuple(dict.fromkeys(bare))


def _models(space: SearchSpace | None, example: TrialConfig) -> tuple[ModelBlock, ...]:
    """Returns a network of each of the plug-ins' kinds that a study may draw."""
    models = {config.model.kind: config.model for config in _boundary_configs(space, example, ["model.kind"])}
    return tuple(model for kind, model in models.items() if kinds("model")[kind].origin != BUILT_IN)


def _most_unfrozen(space: SearchSpace | None, example: TrialConfig) -> int:
    """Returns the most top stages that a study may train, where it says a number."""
    configs = _boundary_configs(space, example, ("transfer.kind", "transfer.unfreeze_top_stages"))
    numbers = [getattr(config.transfer, "unfreeze_top_stages", 0) for config in configs]
    return max((number for number in numbers if number != "all"), default=0)
