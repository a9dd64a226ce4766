"""What dnntune notes in a study's storage: every name that it uses, and the proof of what is read.

Whoever can write to the storage may have changed it.
"""

from typing import Annotated, Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pipeline.config.study import Metrics, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.broken_rule import broken_rule
from pipeline.core.errors import StudyError
from pipeline.plugins.needed import NeededPlugin, check_plugins
from pipeline.records.results import TrialResult

Count = Annotated[int, Field(ge=0, strict=True)]


# User attributes of a study: its space as plain values (None if a function draws), whether that is a list of cases, how
# it searches, how many trials it has in all, its metrics, and what `dnntune finalize` has chosen.
SPACE, IS_CASES, SETTINGS, TOTAL, METRICS, CHOSEN = "space", "is_cases", "settings", "total", "metrics", "chosen"
# The plug-ins that it needs, see `pipeline.plugins.needed`; none where there is nothing.
PLUGINS = "plugins"
# What it trains on, how its last run ended if it is not complete, and its MLflow run in each tracking store.
DATA, OUTCOME, MLFLOW_RUNS = "data", "outcome", "mlflow_runs"
# Of a schedule's study: the schedule, the key of the run, the Unix time in seconds at which it was prepared, and what
# `pipeline.scheduling.drift` says of its data.
SCHEDULE, RUN, PREPARED, DATA_PROFILE = "schedule", "run", "prepared", "data_profile"
# User attributes of a trial: its configuration as plain values, its TrialResult, and what
# `pipeline.records.results.curves_of` gives.
CONFIG, RESULT, CURVES = "config", "result", "curves"
# Of a trial that is tried again: how often already, after which trial, and which was the first.
RETRY, RETRY_OF, FIRST_ATTEMPT = "retry", "retry_of", "first_attempt"
# Of a trial that was taken when there was none left, and never ran.
WITHDRAWN = "withdrawn"


class StudyAttributes(TypedDict, total=False):
    """A study's user attributes; others are not ours."""

    space: dict[str, Any] | None
    is_cases: bool
    settings: StudyConfig
    total: Count
    metrics: Metrics
    chosen: dict[str, Any]
    plugins: list[NeededPlugin]
    data: dict[str, Any]
    outcome: str
    mlflow_runs: dict[str, str]
    schedule: str
    run: str
    prepared: float
    data_profile: dict[str, Any]


class TrialAttributes(TypedDict, total=False):
    """A trial's user attributes; others are not ours."""

    config: TrialConfig
    result: TrialResult
    curves: dict[str, list[Any]]
    retry: Count
    retry_of: Count
    first_attempt: Count
    withdrawn: bool


_STUDY, _TRIAL = TypeAdapter(StudyAttributes), TypeAdapter(TrialAttributes)
_NEEDED = TypeAdapter(list[NeededPlugin])


def check_attributes(study: optuna.Study, *, computes: bool = False) -> None:
    """Proves that what dnntune has noted in a study and its trials is what dnntune writes.

    Args:
        study: The study.
        computes: Whether anything will be trained or measured for it, see `check_plugins`.

    Raises:
        StudyError: It is not; says what.
        PluginError: The study needs a plug-in that is not here, or is another.
    """
    needed = study.user_attrs.get(PLUGINS, [])
    _check(_NEEDED, needed, f"study {study.study_name}")
    check_plugins(study.study_name, needed, computes=computes)
    _check(_STUDY, study.user_attrs, f"study {study.study_name}")
    for trial in study.get_trials(deepcopy=False):
        check_trial(study.study_name, trial)


def check_trial(study: str, trial: FrozenTrial) -> None:
    """Proves the same of one trial; see `check_attributes`."""
    _check(_TRIAL, trial.user_attrs, f"trial {trial.number} of study {study}")


def _check(kind: TypeAdapter[Any], attributes: Any, of: str) -> None:
    try:
        kind.validate_python(attributes)
    except ValidationError as error:
        path, rule, _ = broken_rule(error)
        raise StudyError(
            f"{of}: what the storage has as {path} is not what dnntune writes: {rule}. Something else has changed it; "
            "restore the storage from a backup, or start a study with another name"
        ) from None
