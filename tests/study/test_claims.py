"""Trials are claimed by many at once: never too many, none twice, none lost."""

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.storage.open import RecentTrials, open_storage
from pipeline.study.attributes import RETRY_OF, TOTAL
from pipeline.study.claims import Claim, NoClaim, claim_trial, withdraw_leftovers
from pipeline.study.trials import outcome_of, requeue

if TYPE_CHECKING:
    import threading

FORK = multiprocessing.get_context("fork")


def make(total: int, storage: optuna.storages.BaseStorage | None = None) -> optuna.Study:
    study = optuna.create_study(study_name="s", storage=storage or optuna.storages.InMemoryStorage())
    study.set_user_attr(TOTAL, total)
    return study


def claim(study: optuna.Study) -> Claim:
    claimed = claim_trial(study)
    assert isinstance(claimed, Claim)
    return claimed


def end(study: optuna.Study, number: int, state: TrialState = TrialState.COMPLETE) -> None:
    study.tell(number, 1.0 if state == TrialState.COMPLETE else None, state=state)


def test_no_trial_is_claimed_beyond_the_total() -> None:
    study = make(2)
    assert [claim(study).number, claim(study).number] == [0, 1]
    assert claim_trial(study) == NoClaim(complete=False)
    end(study, 0)
    assert claim_trial(study) == NoClaim(complete=False)
    end(study, 1, TrialState.PRUNED)
    assert claim_trial(study) == NoClaim(complete=True)
    study.set_user_attr(TOTAL, 3)
    assert claim(study).number == 2


def test_a_failed_trial_is_made_up_for() -> None:
    study = make(1)
    claim(study)
    end(study, 0, TrialState.FAIL)
    assert claim(study).number == 1


def test_what_waits_is_claimed_first_and_keeps_its_number() -> None:
    study = make(3)
    study.enqueue_trial({"x": 1.0})
    first = claim(study)
    assert (first.number, study.trials[0].state) == (0, TrialState.RUNNING)
    claim(study)
    assert requeue(study, first.trial_id)
    assert claim(study).number == 0


def test_what_has_ended_is_not_put_back() -> None:
    study = make(1)
    claimed = claim(study)
    end(study, 0)
    assert not requeue(study, claimed.trial_id)
    assert study.trials[0].state == TrialState.COMPLETE


def test_retries_do_not_shift_what_later_trials_draw() -> None:
    study = make(4)
    assert claim(study).ordinal == 0
    end(study, 0, TrialState.FAIL)
    study.enqueue_trial({"x": 1.0}, user_attrs={RETRY_OF: 0})
    assert claim(study).number == 1
    assert claim(study).ordinal == 1


class Rival(optuna.storages.InMemoryStorage):
    """A storage in which somebody else takes a trial between a claim's look and its grab."""

    rival = 0

    def create_new_trial(self, study_id: int, template_trial: optuna.trial.FrozenTrial | None = None) -> int:
        if self.rival:
            self.rival -= 1
            super().create_new_trial(study_id)
        return super().create_new_trial(study_id, template_trial)


def test_of_two_who_take_the_last_trial_at_once_one_gives_way() -> None:
    storage = Rival()
    study = make(2, storage)
    claim(study)
    storage.rival = 1
    assert claim_trial(study) == NoClaim(complete=False)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.RUNNING) == 2
    assert states.count(TrialState.WAITING) == 1
    study.set_user_attr(TOTAL, 3)
    assert claim(study).number == 2


def test_what_was_put_back_and_is_not_needed_is_withdrawn() -> None:
    study = make(1)
    study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    study.enqueue_trial({"x": 1.0})
    claim(study)
    end(study, 0)
    study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    withdraw_leftovers(study)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.WAITING, TrialState.FAIL]
    assert outcome_of(study.trials[2]) is None
    study.set_user_attr(TOTAL, 2)
    assert claim(study).number == 1


def _run(url: str, barrier: "threading.Barrier", numbers: "multiprocessing.Queue[int]") -> None:
    study = optuna.load_study(study_name="s", storage=RecentTrials(open_storage(url)))
    barrier.wait()
    while True:
        claimed = claim_trial(study)
        if isinstance(claimed, Claim):
            numbers.put(claimed.number)
            running = sum(trial.state == TrialState.RUNNING for trial in study.get_trials(deepcopy=False))
            ended = sum(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False))
            assert ended <= 12
            assert running <= 6 + 1
            study.tell(claimed.number, 1.0)
        elif claimed.complete:
            return


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_six_processes_run_exactly_as_many_trials_as_there_are(
    server: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}" if server == "sqlite" else request.getfixturevalue("postgresql").url
    study = make(12, open_storage(url))
    barrier, numbers = FORK.Barrier(6), FORK.Queue()
    processes = [FORK.Process(target=_run, args=(url, barrier, numbers)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    claimed = [numbers.get() for _ in range(12)]
    assert len(set(claimed)) == 12
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    assert states.count(TrialState.COMPLETE) == 12
    assert TrialState.RUNNING not in states
