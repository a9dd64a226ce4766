"""Studies in their storage: made, gone on with, looked up."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import TrialConfig
from pipeline.distributions import storable
from pipeline.errors import StudyError
from pipeline.places import Places
from pipeline.records import TrialResult
from pipeline.schema import did_you_mean, shown
from pipeline.space import Parameter, SearchSpace, flatten
from pipeline.study.cases import Cases
from pipeline.study.storage import open_existing, quiet_optuna, study_names
from pipeline.study.trials import finish, running_trial
from pipeline.study_config import Grid, StudyConfig

# User attributes of a study: its space as plain values (None if a function draws), and its metric.
SPACE, METRIC = "space", "metric"

# What a study draws its configurations from.
Searched = SearchSpace | Cases | Callable[[optuna.Trial], TrialConfig]


def create_or_resume(
    storage: optuna.storages.BaseStorage,
    name: str,
    settings: StudyConfig,
    space: Searched,
) -> optuna.Study:
    """Returns a study, made anew or as it was left; what it must run and never has is queued.

    Args:
        storage: Where it is kept.
        name: Its name.
        settings: How it searches.
        space: What it searches.

    Raises:
        StudyError: A study of this name searches another space or optimizes another metric.
    """
    source = _source(space)
    if name in study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        _refuse_another(study, settings, source)
    else:
        study = optuna.create_study(study_name=name, storage=storage, direction=settings.direction)
        study.set_user_attr(METRIC, settings.metric)
        study.set_user_attr(SPACE, source)
    trials = study.get_trials(deepcopy=False)
    for point in _queue(settings, space):
        if not any(_covers(trial, point) for trial in trials):
            study.enqueue_trial(dict(point))
    return study


def _source(space: Searched) -> dict[str, Any] | None:
    """Returns what tells a space from another one, in values that a storage gives back unchanged.

    None for a plain function.
    """
    if not isinstance(space, SearchSpace | Cases):
        return None
    source: dict[str, Any] = json.loads(json.dumps(space.source))
    return source


def _queue(settings: StudyConfig, space: Searched) -> list[dict[str, Any]]:
    """Returns what a study must run: its baselines, then its grid."""
    points = list(settings.baselines)
    if isinstance(settings.sampler, Grid) and isinstance(space, SearchSpace):
        points += grid(space, settings.sampler.points)
    return [{parameter: storable(value) for parameter, value in point.items()} for point in points]


def grid(space: SearchSpace, points: int) -> list[dict[str, Any]]:
    """Returns every combination, with at most so many values of a range; see `SearchSpace.combinations`."""

    def values(parameter: Parameter) -> list[Any]:
        return parameter.distribution.values(points)

    return list(space.combinations(values))


def num_trials(settings: StudyConfig, space: Searched) -> int:
    """Returns the trials of a study: those asked for, or as many as there are different configurations."""
    if not isinstance(space, SearchSpace):
        return settings.trials
    limits = [settings.trials]
    if isinstance(settings.sampler, Grid):
        limits.append(len(grid(space, settings.sampler.points)) + len(settings.baselines))
    if (configurations := space.num_configurations()) is not None:
        limits.append(configurations)
    return min(limits)


def load_study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """Returns a study that exists.

    Raises:
        StudyError: There is none of this name; names those that exist.
    """
    names = study_names(storage)
    if name not in names:
        known = f"It has {', '.join(names)}" if names else "It is empty: dnntune run makes a study"
        raise StudyError(f"no study named {name} in this storage{did_you_mean(name, names)}. {known}")
    return optuna.load_study(study_name=name, storage=storage)


def open_study(places: Places, name: str) -> optuna.Study:
    """Returns a study that exists, to look something up.

    Raises:
        StudyError: There is no such storage, or no such study in it.
    """
    quiet_optuna()
    return load_study(open_existing(places), name)


def end_stale_trials(study: optuna.Study) -> list[int]:
    """Ends the trials that a process which is no more left running, and queues them again; returns their numbers.

    Only for the one process that has the study's lock.
    """
    stale = [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
    for number in stale:
        result = TrialResult("interrupted", reason="its process ended without a word")
        finish(study, running_trial(study, number), None, result)
    return stale


def _covers(trial: FrozenTrial, point: Mapping[str, Any]) -> bool:
    """Returns whether a trial has run a point, runs it, or waits to."""
    if trial.state == TrialState.FAIL:
        return False
    fixed = trial.system_attrs.get("fixed_params", {})  # what it was queued with
    return point.items() <= {**trial.params, **fixed}.items()


def _refuse_another(study: optuna.Study, settings: StudyConfig, source: Mapping[str, Any] | None) -> None:
    metric = study.user_attrs.get(METRIC)
    if metric is None:
        raise StudyError(f"study {study.study_name} was not made by dnntune. Give yours another name with --study NAME")
    if metric != settings.metric:
        raise StudyError(
            f"study {study.study_name} optimizes {metric}, and not {settings.metric}. "
            "Give yours another name with --study NAME"
        )
    theirs = study.user_attrs.get(SPACE)
    if theirs == source:
        return
    old, new = flatten(theirs or {}), flatten(source or {})
    changed = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    differences = "; ".join(
        f"{path} was {shown(old.get(path, 'not there'))}, is {shown(new.get(path, 'not there'))}"
        for path in changed[:5]
    )
    raise StudyError(
        f"study {study.study_name} searches another space ({differences}). A study keeps its space, so that its "
        "trials compare: give yours another name with --study NAME"
    )
