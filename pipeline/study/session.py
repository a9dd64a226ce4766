"""One call of `run_study`: the study, its log and those who watch, from the first look to the last."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import optuna

from pipeline.config import TrialConfig
from pipeline.distributions import FloatRange, IntRange
from pipeline.model_config import BackboneConfig, HeadConfig
from pipeline.places import Places
from pipeline.records import DataSummary, Event, Outcome
from pipeline.space import SearchSpace, without_kinds
from pipeline.study.cases import case_label
from pipeline.study.storage import open_storage, study_names
from pipeline.study.studies import Searched, create_or_resume, end_stale_trials, num_trials
from pipeline.study.summary import StudySummary, best_of, config_text
from pipeline.study.supervisor import Budget
from pipeline.study.task import Task
from pipeline.study.trials import CONFIG, count_outcomes, images_through_backbone, num_counted
from pipeline.study_config import StudyConfig
from pipeline.tracking.attach import attach
from pipeline.tracking.store import open_client
from pipeline.tracking.study_log import StudyLog

# User attribute of a study: the id of its run in each tracking store.
RUNS = "mlflow_runs"


class Watcher(Protocol):
    """Somebody who watches a study."""

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None:
        """The study begins, or goes on."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def tick(self) -> None:
        """A moment passed."""


def attach_to_study(study: optuna.Study, places: Places, files: Mapping[str, bytes]) -> None:
    """Adds files to the study's run in MLflow, if it has one there.

    Raises:
        TrackingError: The store cannot be used.
    """
    if (run := study.user_attrs.get(RUNS, {}).get(places.tracking_url)) is not None:
        attach(open_client(places.tracking_url), run, files)


class Session:
    """One call of `run_study`, by the process that has the study's lock.

    In the workspace's own storage it ends what a dead process left running. A storage that is named may be shared with
    other machines, where this lock says nothing: trials that run there are left alone.
    """

    def __init__(
        self,
        space: Searched,
        settings: StudyConfig,
        name: str,
        places: Places,
        watcher: Watcher,
    ) -> None:
        self.started = time.monotonic()
        self.space = space if isinstance(space, SearchSpace) else None
        self.sample = space.sample if isinstance(space, SearchSpace) else space
        self.searched = space
        self.settings, self.name, self.places, self.watcher = settings, name, places, watcher
        self.total = num_trials(settings, space)
        self.storage = open_storage(places.storage_url)
        self.study: optuna.Study | None = None
        self.log: StudyLog | None = None
        self.tracking_error: str | None = None
        self.interrupted = False
        if name in study_names(self.storage):
            self._open_study()

    def _open_study(self) -> optuna.Study:
        self.study = create_or_resume(self.storage, self.name, self.settings, self.searched)
        self._end_stale_trials()
        return self.study

    def _end_stale_trials(self) -> None:
        if self.study is not None and self.places.storage is None:
            end_stale_trials(self.study)

    def num_left(self) -> int:
        """Returns how many trials the study still needs."""
        done = 0 if self.study is None else num_counted(self.study.get_trials(deepcopy=False))
        return max(self.total - done, 0)

    def task(self, worker: int, device: str, threads: int) -> Task:
        """Returns what a worker needs to know."""
        return Task(
            storage=self.places.storage_url,
            study_name=self.name,
            study=self.settings,
            sample=self.sample,
            example=(example := _example(self.space, self.sample)),
            backbones=_backbones(self.space, example),
            most_unfrozen=_most_unfrozen(self.space, example),
            cache_dir=self.places.feature_cache,
            data_dir=self.places.data_dir,
            device=device,
            threads=threads,
            worker=worker,
        )

    def open_log(self) -> None:
        """Opens MLflow; its tables exist before the first trial does."""
        self.log = StudyLog(self.places, self.name)

    def begin(self, data: DataSummary) -> tuple[optuna.Study, Budget]:
        """Makes the study, or goes on with it, now that a worker has its data."""
        assert self.log is not None
        study = self.study or self._open_study()
        runs = study.user_attrs.get(RUNS, {})
        url = self.places.tracking_url
        parent = self.log.begin(data, parent=runs.get(url), log_scaled=_log_scaled(self.space))
        if runs.get(url) != parent:
            study.set_user_attr(RUNS, {**runs, url: parent})
        deadline = None if self.settings.timeout is None else self.started + self.settings.timeout
        budget = Budget(self.total, self.total - self.num_left(), deadline)
        direction = self.settings.direction
        self.watcher.begin(
            self.name, total=self.total, counted=self.total - self.num_left(), direction=direction, data=data
        )
        return study, budget

    def event(self, event: Event) -> None:
        """Passes on what happened."""
        if self.log is not None:
            self.log.event(event)
        self.watcher.event(event)

    def end(self, outcome: Outcome) -> None:
        """Leaves nothing running in the storage or in MLflow."""
        if self.study is None or self.log is None:
            return
        self._end_stale_trials()
        trials = self.study.get_trials(deepcopy=False)
        best = best_of(self.study)
        figures = {f"trials_{name}": float(count) for name, count in count_outcomes(trials).items()}
        figures["seconds"] = time.monotonic() - self.started
        backbone_images, cached_images = images_through_backbone(trials)
        if backbone_images or cached_images:
            figures |= {"backbone_images": float(backbone_images), "cached_images": float(cached_images)}
        if best is not None:
            figures[f"best_{self.settings.metric}"] = best.value
        self.tracking_error = self.log.end(
            outcome,
            figures=figures,
            best_config=None if best is None else config_text(best.config),
            configs=[{**t.user_attrs[CONFIG], **case_label(t.params)} for t in trials if CONFIG in t.user_attrs],
            searched={without_kinds(name, trial.params.get) for trial in trials for name in trial.params},
            metric=self.settings.metric,
            maximize=self.settings.direction == "maximize",
        )

    def summary(self) -> StudySummary:
        """Returns how the study stands."""
        assert self.study is not None or self.num_left() > 0
        trials = [] if self.study is None else self.study.get_trials(deepcopy=False)
        backbone_images, cached_images = images_through_backbone(trials)
        return StudySummary(
            study=self.name,
            storage=self.places.storage_url,
            tracking_uri=self.places.tracking_url,
            trials=count_outcomes(trials),
            num_left=self.num_left(),
            best=None if self.study is None else best_of(self.study),
            seconds=time.monotonic() - self.started,
            interrupted=self.interrupted,
            tracking_error=self.tracking_error,
            backbone_images=backbone_images,
            cached_images=cached_images,
        )


def _example(space: SearchSpace | None, sample: Callable[[optuna.Trial], TrialConfig]) -> TrialConfig:
    """Returns a configuration that the study may draw, of those with the most epochs."""
    if space is not None:
        return max(space.corners(["epochs"]), key=lambda config: config.epochs)
    return sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())


def _corners(space: SearchSpace | None, example: TrialConfig, paths: Sequence[str]) -> Iterator[TrialConfig]:
    """Returns configurations with all that a space admits at some places; of a function, what it has drawn."""
    return iter([example]) if space is None else space.corners(paths)


def _backbones(space: SearchSpace | None, example: TrialConfig) -> tuple[BackboneConfig, ...]:
    """Returns the different backbones that a study may draw, their heads set aside."""
    places = ("kind", "name", "pretrained", "drop_top_stages", "drop_path", "image_size")
    models = (config.model for config in _corners(space, example, [f"model.{place}" for place in places]))
    bare = (model.model_copy(update={"head": HeadConfig()}) for model in models if isinstance(model, BackboneConfig))
    return tuple(dict.fromkeys(bare))


def _most_unfrozen(space: SearchSpace | None, example: TrialConfig) -> int:
    """Returns the most top stages that a study may train, where it says a number."""
    configs = _corners(space, example, ("transfer.kind", "transfer.unfreeze_top_stages"))
    numbers = [getattr(config.transfer, "unfreeze_top_stages", 0) for config in configs]
    return max((number for number in numbers if number != "all"), default=0)


def _log_scaled(space: SearchSpace | None) -> frozenset[str]:
    ranges = [] if space is None else space.parameters()
    return frozenset(p.path for p in ranges if isinstance(p.distribution, IntRange | FloatRange) and p.distribution.log)
