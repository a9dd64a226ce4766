"""Studies in their storage: looked up, read back, and recovered; `pipeline.study.creation` makes them."""

import time
from collections.abc import Callable

import optuna
from optuna.trial import TrialState
from pydantic import ValidationError

from pipeline.config.metrics import Metric
from pipeline.config.schema import did_you_mean, validation_error
from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.records.results import TrialResult
from pipeline.space.files import read_space
from pipeline.space.tree import SearchSpace
from pipeline.space.yaml_text import with_location
from pipeline.storage.open import open_existing, quiet_optuna, study_names
from pipeline.study.attributes import IS_CASES, METRICS, RETRY, SETTINGS, SPACE, TOTAL, check_attributes
from pipeline.study.cases import Cases
from pipeline.study.trials import attempt_of, finish, running_trial

UNEXPLAINED = "its process died"
# How long another process may take from making a study to filling it.
MAKING_SECONDS = 5.0

# What a study draws its configurations from.
ConfigSource = SearchSpace | Cases | Callable[[optuna.Trial], TrialConfig]


def stored_definition(study: optuna.Study) -> tuple[ConfigSource, StudyConfig]:
    """Returns what a study searches and how, as its storage has it.

    Raises:
        StudyError: It was not made by dnntune, or a Python function draws its configurations.
    """
    wait_until_made(study)
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


def wait_until_made(study: optuna.Study) -> None:
    """Waits for the process that has just made the study, if there is one."""
    deadline = time.monotonic() + MAKING_SECONDS
    while METRICS not in study.user_attrs and not study.get_trials(deepcopy=False) and time.monotonic() < deadline:
        time.sleep(0.1)


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
