"""Studies created, and resumed by whoever searches the same."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.config.kinds import KindName
from pipeline.config.schema import kinds_in, short_repr
from pipeline.config.study import Grid, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import StudyError
from pipeline.plugins.listing import list_kinds
from pipeline.plugins.needed import metrics_in, needed_plugins
from pipeline.space.distributions import storable
from pipeline.space.tree import SearchSpace, flatten
from pipeline.study.attributes import IS_CASES, METRICS, PLUGINS, SETTINGS, SPACE, TOTAL, check_attributes
from pipeline.study.cases import Cases
from pipeline.study.studies import ConfigSource, metrics_of, wait_until_made


def create_or_resume(
    storage: optuna.storages.BaseStorage,
    name: str,
    settings: StudyConfig,
    space: ConfigSource,
) -> optuna.Study:
    """Creates or resumes a study, and queues its baselines and its grid if they have not run.

    Args:
        storage: Where it is kept.
        name: Its name.
        settings: How it searches.
        space: What it searches.

    Raises:
        StudyError: A study of this name searches another space or optimizes other metrics.
    """
    definition = _definition(space)
    try:
        study = optuna.create_study(study_name=name, storage=storage, directions=settings.directions)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
        wait_until_made(study)
        check_attributes(study, computes=True)
        if not _is_cut_short(study, settings, definition):
            _refuse_another(study, settings, definition)
    study.set_metric_names(list(settings.metrics))  # for Optuna's dashboard
    study.set_user_attr(SPACE, definition)
    study.set_user_attr(IS_CASES, isinstance(space, Cases))
    if needed := needed_plugins(_kinds(settings, definition, are_cases=isinstance(space, Cases))):
        study.set_user_attr(PLUGINS, needed)
    study.set_user_attr(SETTINGS, settings.model_dump(mode="json"))
    study.set_user_attr(TOTAL, num_trials(settings, space))
    known = [_point(trial) for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]
    exactly = {frozenset(each.items()) for each in known}  # a grid is compared with itself in a moment
    for point in _queue(settings, space):
        if frozenset(point.items()) not in exactly and not any(point.items() <= each.items() for each in known):
            study.enqueue_trial(dict(point))
    study.set_user_attr(METRICS, settings.metrics)  # the last one: it says that the study is whole
    return study


def _definition(space: ConfigSource) -> dict[str, Any] | None:
    """Returns what tells a space from another one, in values that a storage gives back unchanged.

    None for a plain function.
    """
    if not isinstance(space, SearchSpace | Cases):
        return None
    definition: dict[str, Any] = json.loads(json.dumps(space.definition))
    return definition


def _kinds(settings: StudyConfig, definition: Mapping[str, Any] | None, *, are_cases: bool) -> Iterator[KindName]:
    """Yields the kinds that a study names; of one whose configurations a function draws, all that it may name."""
    study = settings.model_dump(mode="json")
    yield from kinds_in(study, StudyConfig)
    yield from metrics_in([study, definition])
    if definition is None:
        yield from (KindName(kind.group, kind.name) for kind in list_kinds())
        return
    for config in definition.values() if are_cases else [definition]:
        yield from kinds_in(config, TrialConfig)


def _queue(settings: StudyConfig, space: ConfigSource) -> list[dict[str, Any]]:
    """Returns what a study must run: its baselines, then its grid."""
    points = list(settings.baselines)
    if isinstance(settings.sampler, Grid) and isinstance(space, SearchSpace):
        points += grid(space, settings.sampler.points)
    return [{parameter: storable(value) for parameter, value in point.items()} for point in points]


def grid(space: SearchSpace, points: int) -> list[dict[str, Any]]:
    """Returns every combination, see `SearchSpace.grid`.

    Raises:
        StudyError: They are too many.
    """
    if (rule := space.grid_limit(points)) is not None:
        raise StudyError(f"sampler: {rule}")
    return list(space.grid(points))


def num_trials(settings: StudyConfig, space: ConfigSource) -> int:
    """Returns the trials of a study: those asked for, or as many as there are different configurations."""
    if not isinstance(space, SearchSpace):
        return settings.trials
    limits = [settings.trials]
    if isinstance(settings.sampler, Grid):
        limits.append(len(grid(space, settings.sampler.points)) + len(settings.baselines))
    if (configurations := space.num_configurations()) is not None:
        limits.append(configurations)
    return min(limits)


def _point(trial: FrozenTrial) -> dict[str, Any]:
    """Returns what a trial has drawn, and what it was queued with."""
    return {**trial.params, **trial.system_attrs.get("fixed_params", {})}


def _is_cut_short(study: optuna.Study, settings: StudyConfig, definition: Mapping[str, Any] | None) -> bool:
    """Returns whether somebody has begun to make this very study, and was stopped: by a full disk, or killed."""
    attrs = study.user_attrs
    if METRICS in attrs or [way.name.lower() for way in study.directions] != list(settings.directions):
        return False
    return attrs[SPACE] == definition if SPACE in attrs else not attrs and not study.get_trials(deepcopy=False)


def _refuse_another(study: optuna.Study, settings: StudyConfig, definition: Mapping[str, Any] | None) -> None:
    metrics = metrics_of(study)
    if not metrics:
        raise StudyError(f"study {study.study_name} was not made by dnntune. Give yours another name with --study NAME")
    if metrics != settings.metrics:
        raise StudyError(
            f"study {study.study_name} optimizes {', '.join(metrics)}, and not {', '.join(settings.metrics)}. "
            "Give yours another name with --study NAME"
        )
    theirs = study.user_attrs.get(SPACE)
    if theirs == definition:
        return
    old, new = flatten(theirs or {}), flatten(definition or {})
    changed = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    differences = "; ".join(
        f"{path} was {short_repr(old.get(path, 'missing'))}, is now {short_repr(new.get(path, 'missing'))}"
        for path in changed[:5]
    )
    raise StudyError(
        f"study {study.study_name} searches another space ({differences}). The space of a study cannot change, "
        "so that its trials remain comparable: give yours another name with --study NAME"
    )
