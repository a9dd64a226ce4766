"""Several processes that log into one study, some of which die."""

from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from pipeline.events import EpochEnded, TrialEnded, TrialReaped, TrialStarted
from pipeline.places import Places
from pipeline.records import Outcome, TrialResult
from pipeline.tracking import store, trial_run
from pipeline.tracking.page import study_views
from pipeline.tracking.store import experiment_id, find_runs
from pipeline.tracking.study_log import StudyLog
from tests.tracking.logs import CONFIG, DATA, close, epoch, finish, run_of, running, runs_of, start

COMPLETE = TrialResult("complete", 0.6, 1, seconds=5.0)
REAPED = TrialResult("failed", reason="not heard of for 120 s")


@pytest.fixture(autouse=True)
def _each_epoch_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "FLUSH_SECONDS", 0.0)


def run_trial(log: StudyLog, number: int, *, at: float = 1000.0) -> None:
    """Begins a trial, which goes on."""
    log.event(TrialStarted(number, {}, CONFIG, started=at))
    log.event(EpochEnded(number, epoch(1)))


def state(run: Any) -> tuple[str, str | None]:
    return run.info.status, run.data.tags.get("outcome")


def test_only_trials_that_are_over_are_ended(log: StudyLog, beside: StudyLog) -> None:
    fates: list[Outcome | None] = ["complete", "pruned", "diverged", "failed", "interrupted", None]
    parent = start(log)
    for number in range(len(fates)):
        run_trial(log, number)
    close(log)
    start(beside, parent, fates.__getitem__)
    assert [state(run_of(log, number)) for number in range(len(fates))] == [
        ("FINISHED", "complete"),
        ("KILLED", "pruned"),
        ("KILLED", "diverged"),
        ("FAILED", "failed"),
        ("KILLED", "interrupted"),
        ("RUNNING", None),
    ]


def test_fates_are_asked_after_the_runs_were_listed(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    run_trial(log, 0)
    close(log)
    calls: list[str] = []

    def fate(number: int) -> Outcome | None:
        calls.append(f"fate {number}")
        return None

    search = beside.client.search_runs

    def search_runs(*args: Any, **kwargs: Any) -> Any:
        calls.append("search")
        return search(*args, **kwargs)

    beside.client.search_runs = search_runs  # type: ignore[method-assign]
    start(beside, parent, fate)
    assert calls == ["search", "fate 0"]


def test_the_last_one_leaves_nothing_running(log: StudyLog, beside: StudyLog) -> None:
    over: dict[int, Outcome] = {}
    parent = start(log, fate=over.get)
    start(beside, parent, over.get)
    run_trial(log, 0)
    run_trial(beside, 1)
    close(beside)  # and it dies
    over[0] = "complete"
    log.event(TrialEnded(0, COMPLETE))
    assert finish(log, "interrupted", others_run=True) is None
    assert state(run_of(log, 1)) == ("RUNNING", None)
    over[1] = "failed"
    start(log, parent, over.get)
    assert finish(log) is None
    assert find_runs(log.client, log.experiment, "attributes.status = 'RUNNING'") == []


def test_a_trial_ends_between_the_beginning_and_the_end(log: StudyLog, beside: StudyLog) -> None:
    over: dict[int, Outcome] = {}
    parent = start(log, fate=over.get)
    start(beside, parent, over.get)
    run_trial(beside, 1)
    close(beside)
    over[1] = "interrupted"
    assert finish(log) is None
    assert state(run_of(log, 1)) == ("KILLED", "interrupted")


def test_an_attempt_that_was_left_running_is_not_given_the_last_ones_fate(log: StudyLog, beside: StudyLog) -> None:
    over: dict[int, Outcome] = {}
    parent = start(log)
    run_trial(log, 0)
    close(log)
    start(beside, parent, over.get)
    run_trial(beside, 0, at=2000.0)
    beside.event(TrialEnded(0, COMPLETE))
    over[0] = "complete"
    assert finish(beside) is None
    assert [state(run) for run in runs_of(log, 0)] == [("KILLED", "interrupted"), ("FINISHED", "complete")]


def test_what_is_logged_here_is_not_ended_from_here(log: StudyLog) -> None:
    start(log, fate=lambda number: "failed")
    run_trial(log, 0)
    close(log)
    assert log.tracker is not None
    log.tracker.end_abandoned()
    log.tracker.handle(TrialReaped(0, REAPED))
    assert state(run_of(log, 0)) == ("RUNNING", None)
    log.tracker.end("complete", ended=3000.0, metrics={}, config=None, note="", others_run=False)
    assert state(run_of(log, 0)) == ("FAILED", "failed")


def test_a_reaped_trial_has_failed_and_its_retry_is_shown_instead(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    start(beside, parent)
    for number in (0, 1):
        run_trial(beside, number)
    close(beside)
    log.event(TrialReaped(0, REAPED))
    log.event(TrialStarted(2, {}, CONFIG, started=2000.0, retry=1, retry_of=0))
    log.event(TrialEnded(2, COMPLETE))
    close(log)
    reaped = run_of(log, 0)
    assert state(reaped) == ("FAILED", "failed")
    assert reaped.data.tags["reason"] == REAPED.reason
    assert reaped.data.tags["superseded_by"] == "2"
    assert state(run_of(log, 1)) == ("RUNNING", None)


def test_a_reaped_trial_whose_retry_was_logged_before(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    start(beside, parent)
    log.event(TrialStarted(2, {}, CONFIG, started=2000.0, retry=1, retry_of=0))
    log.event(TrialEnded(2, COMPLETE))
    close(log)
    run_trial(beside, 0)
    close(beside)
    assert beside.tracker is not None
    assert log.tracker is not None
    log.tracker.handle(TrialReaped(0, REAPED))
    assert run_of(log, 0).data.tags["superseded_by"] == "2"


def test_the_study_goes_on_while_others_run_it(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    assert start(beside, parent) == parent
    assert finish(log, "interrupted", others_run=True) is None
    run = log.client.get_run(parent)
    assert state(run) == ("RUNNING", None)
    assert run.data.metrics["seconds"] == 3.0
    assert finish(beside) is None
    assert state(log.client.get_run(parent)) == ("FINISHED", "complete")


def test_two_that_begin_at_once_agree_on_a_run(log: StudyLog, beside: StudyLog) -> None:
    made: list[str] = []

    def agree(run_id: str) -> str:
        made.append(run_id)
        return made[0]

    how = {"parent": None, "space": None, "metrics": ("valid_accuracy",), "fate": running, "agree": agree}
    begun = [each.begin(DATA, **how) for each in (log, beside)]
    assert len(set(made)) == 2
    assert begun == [made[0], made[0]]
    run_trial(beside, 0)
    close(beside)
    assert run_of(log, 0).data.tags["mlflow.parentRunId"] == made[0]
    (study,) = find_runs(log.client, log.experiment, "tags.kind = 'study'")
    assert (study.info.run_id, study.info.status) == (made[0], "RUNNING")


def test_a_run_of_another_store_is_not_gone_on_with(log: StudyLog) -> None:
    assert start(log, "0" * 32) != "0" * 32


def test_a_deleted_run_is_not_gone_on_with(log: StudyLog, beside: StudyLog) -> None:
    parent = start(log)
    log.client.delete_run(parent)
    assert start(beside, parent) != parent


def test_an_experiment_that_somebody_else_makes_meanwhile(log: StudyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    client = log.client
    create = client.create_experiment

    def late(name: str, **kwargs: Any) -> str:
        create(name, **kwargs)
        return create(name, **kwargs)

    monkeypatch.setattr(client, "create_experiment", late)
    made = experiment_id(client, "new", None)
    assert client.get_experiment(made).name == "new"
    assert experiment_id(client, "new", None) == made
    with pytest.raises(MlflowException, match="Invalid experiment name"):
        experiment_id(client, "", None)


def test_all_pages_are_read(log: StudyLog, beside: StudyLog, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE", 2)
    parent = start(log)
    for number in range(5):
        run_trial(log, number)
    close(log)
    assert len(log.client.search_runs([log.experiment], max_results=2)) == 2
    start(beside, parent, lambda number: "interrupted")
    assert [state(run_of(log, number)) for number in range(5)] == [("KILLED", "interrupted")] * 5
    for name in ("a", "b", "c"):
        start(StudyLog(Places(workspace), name))
    assert [name for name, _ in study_views(Places(workspace))] == ["a", "b", "c", "s"]
