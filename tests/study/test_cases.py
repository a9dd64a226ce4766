"""Studies of cases: what they queue, and what they queue again."""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.records.results import Outcome, TrialResult
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.storage.open import open_storage
from pipeline.study.cases import Cases, case_label, results_by_case
from pipeline.study.creation import create_or_resume, num_trials
from pipeline.study.studies import load_study
from pipeline.study.trials import CASE, SEED, finish, outcome_of
from pipeline.workers.run import run_study

Make = Callable[..., TrialConfig]
Point = tuple[str, int]


@pytest.fixture
def storage() -> optuna.storages.BaseStorage:
    return optuna.storages.InMemoryStorage()


@pytest.fixture
def cases(config: Make) -> Callable[[int], Cases]:
    """Three cases, whose first seed is 7."""
    full = config(seed=7)
    three = {"full": full, "max_norm: 1": full.replaced({"max_norm": 1.0}), "wide": full.replaced({"model.width": 200})}
    return lambda num_seeds: Cases(three, num_seeds)


def open_study(storage: optuna.storages.BaseStorage, cases: Cases) -> optuna.Study:
    return create_or_resume(storage, "c", cases.settings(), cases)


def queued(study: optuna.Study) -> list[Point]:
    """What waits, in its order."""
    waiting = study.get_trials(states=(TrialState.WAITING,))
    points = [trial.system_attrs["fixed_params"] for trial in waiting]
    return [(point[CASE], point[SEED]) for point in points]


def run_one(study: optuna.Study, cases: Cases, outcome: Outcome = "complete") -> Point:
    """Runs the next trial, or pretends to."""
    trial = study.ask()
    config = cases(trial)
    value = 0.5 if outcome == "complete" else None
    finish(study, trial, config.to_dict(), TrialResult(outcome, value=value, reason="told so"))
    return trial.params[CASE], trial.params[SEED]


def test_every_case_has_every_seed_once_and_seed_by_seed(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(2))
    names = list(cases(2).configs)
    expected = [(name, seed) for seed in (7, 8) for name in names]
    assert queued(study) == expected
    assert num_trials(cases(2).settings(), cases(2)) == 6
    assert [run_one(study, cases(2)) for _ in range(6)] == expected


def test_a_trial_gets_its_case_with_its_seed(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(2))
    drawn = [cases(2)(study.ask()) for _ in range(6)]
    assert [config.seed for config in drawn] == [7, 7, 7, 8, 8, 8]
    assert drawn[1] == drawn[0].replaced({"max_norm": 1.0})
    assert drawn[5] == drawn[0].replaced({"model.width": 200, "seed": 8})


def test_its_trials_are_neither_pruned_nor_sampled(cases: Callable[[int], Cases]) -> None:
    settings = cases(3).settings(timeout=5.0)
    assert (settings.trials, settings.timeout) == (9, 5.0)
    assert (settings.pruner.kind, settings.sampler.kind, settings.pruner.by_verdict) == ("none", "random", False)


def test_workers_can_be_sent_the_cases(cases: Callable[[int], Cases]) -> None:
    assert pickle.loads(pickle.dumps(cases(2))).definition == cases(2).definition


def test_more_seeds_later_queue_what_is_missing(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(1))
    done = [run_one(study, cases(1)) for _ in range(3)]
    study = open_study(storage, cases(3))
    assert queued(study) == [(name, seed) for seed in (8, 9) for name in cases(1).configs]
    assert set(done).isdisjoint(queued(study))
    assert len(open_study(storage, cases(3)).trials) == 9
    assert len(open_study(storage, cases(2)).trials) == 9


def test_what_has_failed_is_queued_again_and_nothing_else(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(2))
    complete, failed = run_one(study, cases(2)), run_one(study, cases(2), "failed")
    diverged = run_one(study, cases(2), "diverged")
    cases(2)(study.ask())  # runs
    waiting = queued(study)
    assert len({complete, failed, diverged, *waiting}) == 5
    assert waiting[-1] == failed
    study = open_study(storage, cases(2))
    assert queued(study) == waiting
    assert len(open_study(storage, cases(2)).trials) == 7


def test_a_trial_that_was_interrupted_waits_once(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(1))
    point = run_one(study, cases(1), "interrupted")
    study = open_study(storage, cases(1))
    assert queued(study).count(point) == 1
    assert len(queued(study)) == 3


def test_a_trial_that_has_started_but_drawn_nothing_covers_its_point(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    open_study(storage, cases(1)).ask()
    assert len(open_study(storage, cases(1)).trials) == 3


def test_a_failed_point_that_has_run_since_is_not_queued(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(1))
    failed = run_one(study, cases(1), "failed")
    study = open_study(storage, cases(1))
    rest = [run_one(study, cases(1)) for _ in range(3)]
    assert failed in rest
    assert queued(open_study(storage, cases(1))) == []


def test_other_cases_under_the_same_name_are_refused(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases], config: Make
) -> None:
    open_study(storage, cases(1))
    with pytest.raises(StudyError, match="study c searches another space") as caught:
        open_study(storage, Cases({"full": config(seed=8)}, 1))
    assert "full.seed was 7, is now 8" in str(caught.value)
    assert "--study NAME" in str(caught.value)
    assert len(load_study(storage, "c").trials) == 3


def test_a_space_is_refused_where_cases_are(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    open_study(storage, cases(1))
    space = read_space(parse("space: {data: {kind: digits}, epochs: {int: [1, 3]}}", "f.yaml"), "f").space
    with pytest.raises(StudyError, match="searches another space"):
        create_or_resume(storage, "c", StudyConfig(), space)


def test_results_lie_under_their_case_and_seed(
    storage: optuna.storages.BaseStorage, cases: Callable[[int], Cases]
) -> None:
    study = open_study(storage, cases(2))
    outcomes: list[Outcome] = ["complete", "diverged", "failed", "complete", "interrupted"]
    for outcome in outcomes:
        run_one(study, cases(2), outcome)
    found = results_by_case(study)
    assert {(case, seed): result.outcome for case, by_seed in found.items() for seed, result in by_seed.items()} == {
        ("full", 7): "complete",
        ("max_norm: 1", 7): "diverged",
        ("full", 8): "complete",
    }
    assert found["full"][8].value == 0.5


def test_a_case_is_a_label_where_there_is_one() -> None:
    assert case_label({CASE: "full", SEED: 3}) == {"case": "full"}
    assert case_label({"epochs": 3}) == {}


def test_what_takes_a_failed_trials_place_has_one_of_the_seeds(
    workspace: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four petabytes of weights: every trial of the second case fails, now that nobody refuses it before.
    monkeypatch.setattr("pipeline.workers.run.check_ready", lambda *arguments, **named: None)
    cases = Cases({"full": config(epochs=1), "huge": config(epochs=1, model={"width": [1, 10**15]})}, 2)
    here = Workspace(workspace)
    with contextlib.suppress(StudyError):  # the same failure, again and again, may end the study
        run_study(cases, cases.settings(), name="c", workspace=here, compute=Compute(threads=1, device="cpu"))
    trials = load_study(open_storage(here.storage_url), "c").trials
    assert {outcome_of(trial) for trial in trials} >= {"complete", "failed"}
    assert {trial.params[SEED] for trial in trials if trial.params} == {0, 1}
