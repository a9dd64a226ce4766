"""What a study's storage says, proven before it is used: whoever can write to the storage may have changed it."""

from typing import Annotated, Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pipeline.config.study import Metrics, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.broken_rule import broken_rule
from pipeline.core.errors import StudyError
from pipeline.records.results import TrialResult

Count = Annotated[int, Field(ge=0, strict=True)]


class _Study(TypedDict, total=False):
    """A study's user attributes, see `pipeline.study.studies` and `pipeline.scheduling.run`; others are not ours."""

    space: dict[str, Any] | None
    is_cases: bool
    settings: StudyConfig
    total: Count
    metrics: Metrics
    schedule: str
    run: str
    prepared: float
    data: dict[str, Any]


class _Trial(TypedDict, total=False):
    """A trial's user attributes, see `pipeline.study.trials`."""

    config: TrialConfig
    result: TrialResult
    curves: dict[str, list[Any]]
    retry: Count
    retry_of: Count
    origin: Count


_STUDY, _TRIAL = TypeAdapter(_Study), TypeAdapter(_Trial)


def check_attributes(study: optuna.Study) -> None:
    """Proves that what dnntune has noted in a study and its trials is what dnntune writes.

    Raises:
        StudyError: It is not; says what.
    """
    _check(_STUDY, study.user_attrs, f"study {study.study_name}")
    for trial in study.get_trials(deepcopy=False):
        check_trial(study.study_name, trial)


def check_trial(study: str, trial: FrozenTrial) -> None:
    """Proves the same of one trial; see `check_attributes`."""
    _check(_TRIAL, trial.user_attrs, f"trial {trial.number} of study {study}")


def _check(kind: TypeAdapter[Any], attributes: dict[str, Any], of: str) -> None:
    try:
        kind.validate_python(attributes)
    except ValidationError as error:
        path, rule, _ = broken_rule(error)
        raise StudyError(
            f"{of}: what the storage has as {path} is not what dnntune writes: {rule}. Something else has changed it; "
            "restore the storage from a backup, or start a study with another name"
        ) from None
