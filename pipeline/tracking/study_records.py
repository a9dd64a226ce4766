"""A study and its trials as the log shows them: read from the storage, and from nothing else."""

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.records.results import DATA_TYPE, DataSummary, Outcome
from pipeline.space.tree import SearchSpace, without_kinds
from pipeline.study.attributes import CONFIG, CURVES, DATA, IS_CASES, OUTCOME, RETRY_OF, SPACE, TOTAL, WITHDRAWN
from pipeline.study.cases import case_label
from pipeline.study.studies import metrics_of, stored_definition
from pipeline.study.summary import best_of, chosen_of, config_text
from pipeline.study.trials import attempt_of, count_outcomes, images_through_backbone, num_counted, result_of
from pipeline.tracking.expected_run import StudyRecord, TrialRecord
from pipeline.tracking.note import chosen_text


def remember_data(study: optuna.Study, data: DataSummary) -> None:
    """Notes what a study trains on, and that a run of it has begun: until it says something else, it is interrupted."""
    study.set_user_attr(DATA, dataclasses.asdict(data))
    study.set_user_attr(OUTCOME, "interrupted")


def trial_records(study: optuna.Study, *, alive: bool) -> list[TrialRecord]:
    """Returns all trials that began, in the order of their numbers.

    Args:
        study: The study.
        alive: Whether what its storage calls running may run; else its process is known to be dead.
    """
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs[RETRY_OF]: trial.number for trial in trials if RETRY_OF in trial.user_attrs}
    began = [trial for trial in trials if trial.datetime_start is not None and WITHDRAWN not in trial.user_attrs]
    return [_record(trial, retried.get(trial.number), alive) for trial in began]


def _record(trial: FrozenTrial, retried_as: int | None, alive: bool) -> TrialRecord:
    result, attempt = result_of(trial), attempt_of(trial)
    assert trial.datetime_start is not None
    outcome: Outcome | None = None if result is None else result.outcome
    if result is None and (trial.state == TrialState.WAITING or not alive):
        outcome = "interrupted"
    started = trial.datetime_start.timestamp()
    return TrialRecord(
        number=trial.number,
        params={without_kinds(name, trial.params.get): value for name, value in trial.params.items()},
        config=trial.user_attrs.get(CONFIG),
        started=started,
        ended=None if result is None else _time(trial.datetime_complete) or started,
        outcome=outcome,
        result=result,
        curves={} if result is None else trial.user_attrs.get(CURVES, {}),
        retry=attempt.retry,
        retry_of=attempt.retry_of,
        retried_as=retried_as,
    )


def space_of(study: optuna.Study) -> SearchSpace | None:
    """Returns what a study searches; None if a function draws, or cases are compared."""
    if study.user_attrs[SPACE] is None or study.user_attrs[IS_CASES]:
        return None
    searched_paths = stored_definition(study)[0]
    assert isinstance(searched_paths, SearchSpace)
    return searched_paths


def study_record(study: optuna.Study, space: SearchSpace | None, *, alive: bool) -> StudyRecord:
    """Returns the study as a whole; see `trial_records`.

    Args:
        study: The study, which has loaded its data once.
        space: What it searches, see `space_of`.
        alive: Whether what its storage calls running may run.
    """
    trials = study.get_trials(deepcopy=False)
    best, chosen, metrics = best_of(study), chosen_of(study), metrics_of(study)
    settled = chosen or best
    starts = [trial.datetime_start.timestamp() for trial in trials if trial.datetime_start is not None]
    ends = [trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete is not None]
    started = min(starts, default=time.time())
    ended = max(ends, default=started)
    totals = {f"trials_{name}": float(count) for name, count in count_outcomes(trials).items()}
    totals["seconds"] = round(ended - started, 2)
    backbone_images, cached_images = images_through_backbone(trials)
    if backbone_images or cached_images:
        totals |= {"backbone_images": float(backbone_images), "cached_images": float(cached_images)}
    if best is not None:
        totals[f"best_{metrics[0]}"] = best.value
    searched_paths = dict.fromkeys(without_kinds(name, trial.params.get) for trial in trials for name in trial.params)
    return StudyRecord(
        name=study.study_name,
        metrics=metrics,
        space=space,
        data=DATA_TYPE.validate_python(study.user_attrs[DATA]),
        outcome=_outcome(study, trials, alive),
        started=started,
        ended=ended,
        totals=totals,
        best=None if best is None else _record(trials[best.number], None, alive),
        best_config=None if settled is None else config_text(settled.config),
        chosen=None if chosen is None else chosen_text(chosen.trial, chosen.describe()),
        configs=[{**t.user_attrs[CONFIG], **case_label(t.params)} for t in trials if CONFIG in t.user_attrs],
        searched_paths=list(searched_paths),
    )


def _outcome(study: optuna.Study, trials: Sequence[FrozenTrial], alive: bool) -> Outcome | None:
    if alive and any(trial.state == TrialState.RUNNING for trial in trials):
        return None
    if num_counted(trials) >= study.user_attrs[TOTAL]:
        return "complete"
    return "failed" if study.user_attrs.get(OUTCOME) == "failed" else "interrupted"


def _time(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
