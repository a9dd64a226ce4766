"""Trials that are tried again: each attempt has a run, and the comparison shows the last one."""

import json
from pathlib import Path

import pytest

from pipeline.events import EpochEnded, TrialEnded, TrialStarted
from pipeline.places import Places
from pipeline.records import TrialResult
from pipeline.tracking import trial_run
from pipeline.tracking.study_log import StudyLog
from pipeline.tracking.view import view_key
from tests.tracking.logs import CONFIG, close, epoch, finish, run_of, runs_of, start

COMPLETE = TrialResult("complete", 0.6, 2, seconds=5.0)
FAILED = TrialResult("failed", reason="was killed by SIGKILL")
INTERRUPTED = TrialResult("interrupted", 0.5, 1, reason="after epoch 1")


def attempt(log: StudyLog, started: TrialStarted, result: TrialResult, epochs: int = 1) -> None:
    log.event(started)
    for number in range(1, epochs + 1):
        log.event(EpochEnded(started.number, epoch(number)))
    log.event(TrialEnded(started.number, result))


def first(number: int, at: float) -> TrialStarted:
    return TrialStarted(number, {}, CONFIG, started=at)


def shown(log: StudyLog) -> list[tuple[str, str]]:
    """Numbers and states of the runs that the prepared view shows."""
    tags = log.client.get_experiment(log.experiment).tags
    state = json.loads(tags[f"mlflow.sharedViewState.{view_key('s')}"])
    found = log.client.search_runs([log.experiment], state["searchFilter"])
    return sorted((run.data.tags["trial"], run.info.status) for run in found)


def test_a_retry_says_what_it_is(log: StudyLog) -> None:
    start(log)
    attempt(log, first(3, 1000.0), FAILED)
    attempt(log, TrialStarted(5, {}, CONFIG, 2000.0, retry=1, retry_of=3, resumed_after=1), FAILED)
    assert finish(log) is None
    once, again = run_of(log, 3), run_of(log, 5)
    assert (once.info.run_name, again.info.run_name) == ("t003 relu 3x100 nadam", "t005 relu 3x100 nadam retry 1")
    assert not {"retry", "retry_of", "resumed_after"} & once.data.tags.keys()
    expected = {"retry": "1", "retry_of": "3", "resumed_after": "1", "trial": "5"}
    assert expected.items() <= again.data.tags.items()
    assert once.data.tags["superseded_by"] == "5"
    assert "superseded_by" not in again.data.tags
    assert shown(log) == [("5", "FAILED")]


@pytest.mark.parametrize("origin", ["first", "previous"])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_last_attempt_is_shown_in_whatever_order_they_are_logged(
    log: StudyLog, order: tuple[int, ...], origin: str
) -> None:
    start(log)
    attempts = [
        (first(3, 1000.0), FAILED),
        (TrialStarted(5, {}, CONFIG, 2000.0, retry=1, retry_of=3), FAILED),
        (TrialStarted(8, {}, CONFIG, 3000.0, retry=2, retry_of={"first": 3, "previous": 5}[origin]), COMPLETE),
    ]
    attempt(log, first(4, 1500.0), COMPLETE)
    for index in order:
        attempt(log, *attempts[index])
    assert finish(log) is None
    assert shown(log) == [("4", "FINISHED"), ("8", "FINISHED")]


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupted_trial_is_resumed_under_its_number(log: StudyLog, beside: StudyLog, late: bool) -> None:
    parent = start(log)
    start(beside, parent)
    attempts = [(log, first(2, 1000.0), INTERRUPTED, 1)]
    attempts += [(beside, TrialStarted(2, {}, CONFIG, 2000.0, resumed_after=1), COMPLETE, 2)]
    for process, started, result, epochs in reversed(attempts) if late else attempts:
        attempt(process, started, result, epochs)
        close(process)
    assert finish(beside) is None
    once, again = runs_of(log, 2)
    assert (once.info.status, once.data.tags["outcome"]) == ("KILLED", "interrupted")
    assert (again.info.status, again.data.tags["outcome"]) == ("FINISHED", "complete")
    curve = log.client.get_metric_history(again.info.run_id, "valid_accuracy")
    assert [point.step for point in curve] == [1, 2]
    assert shown(log) == [("2", "FINISHED")]


def test_a_trial_that_waits_or_runs_is_shown(log: StudyLog, beside: StudyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "FLUSH_SECONDS", 0.0)
    parent = start(log)
    start(beside, parent)
    attempt(log, first(0, 1000.0), INTERRUPTED)
    attempt(log, first(1, 1000.0), FAILED)
    beside.event(TrialStarted(2, {}, CONFIG, 2000.0, retry=1, retry_of=1))
    beside.event(EpochEnded(2, epoch(1)))
    beside.event(first(3, 2000.0))
    beside.event(EpochEnded(3, epoch(1)))
    close(beside)
    assert finish(log, others_run=True) is None
    assert shown(log) == [("0", "KILLED"), ("2", "RUNNING"), ("3", "RUNNING")]


def test_attempts_in_other_studies_are_others(log: StudyLog, workspace: Path) -> None:
    start(log)
    attempt(log, first(0, 1000.0), FAILED)
    close(log)
    other = StudyLog(Places(workspace), "other")
    start(other)
    attempt(other, TrialStarted(0, {}, CONFIG, 2000.0, resumed_after=1), COMPLETE)
    attempt(other, TrialStarted(1, {}, CONFIG, 3000.0, retry=1, retry_of=0), COMPLETE)
    close(other)
    ours, theirs = runs_of(log, 0)
    assert "superseded_by" not in ours.data.tags
    assert theirs.data.tags["superseded_by"] == "1"
