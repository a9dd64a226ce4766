"""The supervisor, with workers that the test plays itself."""

from collections.abc import Callable
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from pipeline.config.study import StudyConfig
from pipeline.core.errors import StudyError
from pipeline.records.events import (
    Event,
    NothingToClaim,
    TrialClaimed,
    TrialEnded,
    TrialRequested,
    WorkerOverLimit,
    WorkerReady,
)
from pipeline.records.results import DataSummary, Outcome, TrialResult
from pipeline.study.trials import finish, outcome_of, result_of
from pipeline.workers.budget import Budget
from pipeline.workers.heartbeats import Heartbeat
from pipeline.workers.supervisor import MAX_FAILED_STARTS, Supervisor
from pipeline.workers.task import Task
from tests.workers.conftest import Recorder

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

KILLED = "was killed by SIGKILL"
READY = WorkerReady(DataSummary("digits", 10, 10, 10, (1, 8, 8), "cpu"))


class Actor:
    """A worker that says what it is told to, and dies of what it is told to."""

    def __init__(self, cause: str | None, *events: Event) -> None:
        self.cause, self.events = cause, events
        self.connection: Connection[Event, bool] | None = None

    def kill(self) -> None: ...

    def join(self) -> str | None:
        return self.cause


class Stage:
    """Starts the actors, one after the other; their lines are said at once."""

    def __init__(self, *actors: Actor) -> None:
        self.actors = list(actors)

    def prepare(self, task: Task) -> None: ...

    def start(self, _task: Task) -> Any:
        actor = self.actors.pop(0)
        ours, theirs = Pipe()
        for event in actor.events:
            theirs.send(event)
        theirs.close()
        return actor, ours

    def close(self) -> None: ...


@pytest.fixture
def supervise(
    study: optuna.Study, recorder: Recorder, task: Task, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Supervisor]:
    monkeypatch.setattr(Heartbeat, "send", lambda heartbeat, study, own: [])  # it needs a storage that keeps heartbeats

    def run(*actors: Actor) -> Supervisor:
        stage = Stage(*actors)
        supervisor = Supervisor(
            [task],
            stage,
            begin=lambda data: (study, Budget(None)),
            heartbeat=Heartbeat(retries=2),
            listen=recorder.events.append,
            tick=lambda: None,
        )
        supervisor.run()
        assert stage.actors == []
        return supervisor

    return run


@pytest.fixture
def task() -> Task:
    unread: dict[str, Any] = dict.fromkeys(Task.__dataclass_fields__)
    return Task(**{**unread, "study": StudyConfig(), "worker": 0})


def draw(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    return trial


def last(recorder: Recorder) -> TrialResult:
    (ended,) = [event for event in recorder.events if isinstance(event, TrialEnded)]
    return ended.result


DONE = Actor(None, READY, TrialRequested(), NothingToClaim(complete=True), TrialRequested())


def test_a_dead_workers_trial_fails_and_waits_again(
    supervise: Callable[..., Supervisor], study: optuna.Study, recorder: Recorder
) -> None:
    trial = draw(study)
    supervise(Actor(KILLED, READY, TrialRequested(), TrialClaimed(trial.number, 0)), DONE)
    failed, waiting = study.trials
    assert last(recorder) == result_of(failed)
    assert last(recorder).reason == "its worker was killed by SIGKILL; it will be retried"
    assert waiting.state == optuna.trial.TrialState.WAITING
    assert waiting.system_attrs["fixed_params"] == failed.params


def test_a_trial_that_had_ended_when_its_worker_died_is_no_failure(
    supervise: Callable[..., Supervisor], study: optuna.Study, recorder: Recorder
) -> None:
    trial = draw(study)
    finish(study, trial, {}, TrialResult("pruned", value=0.5, epochs=3))
    supervise(Actor(KILLED, READY, TrialRequested(), TrialClaimed(trial.number, 0)), DONE)
    assert last(recorder) == TrialResult("pruned", value=0.5, epochs=3)
    assert len(study.trials) == 1


@pytest.mark.parametrize("outcome", ["pruned", "failed"])
def test_a_trial_that_passed_a_limit_is_not_tried_again(
    supervise: Callable[..., Supervisor], study: optuna.Study, recorder: Recorder, outcome: Outcome
) -> None:
    trial = draw(study)
    over_limit = WorkerOverLimit(outcome, "too much")
    supervise(
        Actor("ended with exit code 86", READY, TrialRequested(), TrialClaimed(trial.number, 0), over_limit), DONE
    )
    assert last(recorder) == TrialResult(outcome, reason="too much")
    assert [outcome_of(each) for each in study.trials] == [outcome]


def test_a_worker_that_dies_while_it_starts_is_replaced(supervise: Callable[..., Supervisor]) -> None:
    supervise(*[Actor(KILLED) for _ in range(MAX_FAILED_STARTS - 1)], DONE)


def test_workers_that_never_start_end_the_study(supervise: Callable[..., Supervisor]) -> None:
    with pytest.raises(StudyError, match="workers cannot start: 3 in a row, and the last one was killed by SIGKILL"):
        supervise(*[Actor(KILLED) for _ in range(MAX_FAILED_STARTS)])
