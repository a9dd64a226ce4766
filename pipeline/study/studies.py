"""Studies in their storage: created, resumed, looked up."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from pipeline.config.kinds import KindName, groups, kinds
from pipeline.config.metrics import Metric
from pipeline.config.schema import did_you_mean, kinds_in, short_repr, validation_error
from pipeline.config.study import Grid, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.plugins.needed import needed_plugins
from pipeline.records.results import TrialResult
from pipeline.space.distributions import storable
from pipeline.space.files import read_space
from pipeline.space.tree import SearchSpace, flatten
from pipeline.space.yaml_text import with_location
from pipeline.storage.open import open_existing, quiet_optuna, study_names
from pipeline.study.attributes import IS_CASES, METRICS, PLUGINS, RETRY, SETTINGS, SPACE, TOTAL, check_attributes
from pipeline.study.cases import Cases
from pipeline.study.trials import attempt_of, finish, running_trial

UNEXPLAINED = "its process died"
# How long another process may take from making a study to filling it.
MAKING_SECONDS = 5.0

# What a study draws its configurations from.
ConfigSource = SearchSpace | Cases | Callable[[optuna.Trial], TrialConfig]


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
        _wait_until_made(study)
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


def stored_definition(study: optuna.Study) -> tuple[ConfigSource, StudyConfig]:
    """Returns what a study searches and how, as its storage has it.

    Raises:
        StudyError: It was not made by dnntune, or a Python function draws its configurations.
    """
    _wait_until_made(study)
    name, attrs = study.study_name, study.user_attrs
    if METRICS not in attrs:
        raise StudyError(f"study {name} was not made by dnntune. Create one with dnntune run, in this storage")
    check_attributes(study)
    if missing := [needed for needed in (SPACE, IS_CASES, SETTINGS, TOTAL) if needed not in attrs]:
        raise StudyError(
            f"study {name} has no {missing[0]} in its storage: something has removed it. Start a new study"
        )
    settings = StudyConfig.model_validate(attrs[SETTINGS])
    if attrs[SPACE] is None:
        raise StudyError(
            f"a Python function draws the configurations of study {name}, and it is not in the storage. Call run_study "
            "with that function here, with the same name and storage"
        )
    if attrs[IS_CASES]:
        try:
            configs = {case: TrialConfig.model_validate(config) for case, config in attrs[SPACE].items()}
        except ValidationError as error:
            reason = error.errors()[0]
            raise StudyError(
                f"study {name} has a case that is no configuration: {reason['loc']} {reason['msg']}"
            ) from None
        return Cases(configs, 1), settings
    return read_space(with_location({"space": attrs[SPACE]}, f"study {name}"), name).space, settings


def with_options(settings: StudyConfig, **options: object) -> StudyConfig:
    """Returns a study's settings with some replaced; None leaves one as it is.

    Raises:
        StudyError: A value is none that the setting can have.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if (rule := validation_error(StudyConfig, name, value)) is not None:
            raise StudyError(f"--{name.replace('_', '-')} {rule}")
    return settings.model_copy(update=given)


def _wait_until_made(study: optuna.Study) -> None:
    """Waits for the process that has just made the study, if there is one."""
    deadline = time.monotonic() + MAKING_SECONDS
    while METRICS not in study.user_attrs and not study.get_trials(deepcopy=False) and time.monotonic() < deadline:
        time.sleep(0.1)


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
    yield from kinds_in(settings.model_dump(mode="json"), StudyConfig)
    if definition is None:
        yield from (KindName(group, name) for group in groups() for name in kinds(group))
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


def load_study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """Returns a study that exists.

    Raises:
        StudyError: There is none of this name; names those that exist.
    """
    names = study_names(storage)
    if name not in names:
        known = f"It has {', '.join(names)}" if names else "It is empty: create a study with dnntune run"
        raise StudyError(f"no study named {name} in this storage{did_you_mean(name, names)}. {known}")
    return optuna.load_study(study_name=name, storage=storage)


def open_study(workspace: Workspace, name: str, *, computes: bool = False) -> optuna.Study:
    """Returns a study that exists.

    Args:
        workspace: Where it is kept.
        name: Its name.
        computes: Whether anything will be trained or measured for it, or it is only looked at: see `check_attributes`.

    Raises:
        StudyError: There is no such storage, no such study in it, or something else has changed what dnntune noted.
        PluginError: It needs a plug-in that is not here, or is another.
    """
    quiet_optuna()
    study = load_study(open_existing(workspace), name)
    check_attributes(study, computes=computes)
    return study


def metrics_of(study: optuna.Study) -> tuple[Metric, ...]:
    """Returns what a study optimizes, the metric first by which its trials are ranked; nothing if it is not ours."""
    return tuple(study.user_attrs.get(METRICS, ()))


def recover_trials(study: optuna.Study, retries: int) -> None:
    """Lets the trials that processes which are no more left running wait to be resumed.

    Nobody knows what ended them; if it was the trial itself, it must not go on for ever: each time counts as a retry.
    Only for a process that knows that no other runs the study.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        running, retry = running_trial(study, trial.number), attempt_of(trial).retry
        if retry < retries:
            running.set_user_attr(RETRY, retry + 1)
            result = TrialResult("interrupted", reason=UNEXPLAINED)
        else:
            result = TrialResult("failed", reason=f"{UNEXPLAINED}, after {retry} retries")
        finish(study, running, None, result)


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
