import errno
from typing import Any

import optuna
import pytest

from pipeline.config.model import MlpConfig
from pipeline.config.study import StudyConfig
from pipeline.core.errors import StudyError
from pipeline.records.results import TrialResult
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.tree import SearchSpace
from pipeline.space.yaml_text import parse
from pipeline.study import studies
from pipeline.study.attributes import SETTINGS, TOTAL
from pipeline.study.cases import Cases
from pipeline.study.creation import create_or_resume, grid, num_trials
from pipeline.study.studies import load_study, recover_trials, stored_definition
from pipeline.study.trials import attempt_of, outcome_of, result_of
from pipeline.workers.budget import Budget

TEXT = """
study: {trials: 100, baselines: [{model.width: [8, 4], optimizer.kind: sgd}]}
space:
  data: {kind: digits}
  model: {width: {choice: [[8, 4], 16]}}
  optimizer: {choice: [sgd, {kind: adamw, lr: {float: [1e-4, 1e-2], log: true}}]}
  epochs: {int: [2, 4]}
"""


def read(text: str = TEXT) -> SpaceFile:
    return read_space(parse(text, "f.yaml"), "f")


@pytest.fixture
def storage() -> optuna.storages.BaseStorage:
    return optuna.storages.InMemoryStorage()


def open_study(storage: optuna.storages.BaseStorage, text: str = TEXT) -> optuna.Study:
    file = read(text)
    return create_or_resume(storage, "f", file.study, file.space)


def test_baselines_run_first(storage: optuna.storages.BaseStorage) -> None:
    study = open_study(storage)
    config = read().space.sample(study.ask())
    assert isinstance(config.model, MlpConfig)
    assert config.model.width == (8, 4)
    assert config.optimizer.kind == "sgd"


def test_going_on_queues_nothing_again(storage: optuna.storages.BaseStorage) -> None:
    open_study(storage)
    assert len(open_study(storage).trials) == 1


def test_another_space_is_refused_with_what_differs(storage: optuna.storages.BaseStorage) -> None:
    open_study(storage)
    with pytest.raises(StudyError, match="searches another space") as caught:
        open_study(storage, TEXT.replace("int: [2, 4]", "int: [2, 8]"))
    assert "epochs.int was [2, 4], is now [2, 8]" in str(caught.value)
    assert "--study NAME" in str(caught.value)


def test_other_metrics_are_refused(storage: optuna.storages.BaseStorage) -> None:
    open_study(storage)
    with pytest.raises(StudyError, match="optimizes valid_accuracy, and not valid_loss"):
        open_study(storage, TEXT.replace("trials: 100,", "trials: 100, metrics: valid_loss,"))


def test_more_trials_or_another_sampler_are_welcome(storage: optuna.storages.BaseStorage) -> None:
    open_study(storage)
    assert open_study(storage, TEXT.replace("trials: 100,", "trials: 200, sampler: random,")).study_name == "f"


def test_a_study_made_by_somebody_else_is_left_alone(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "MAKING_SECONDS", 0.2)
    optuna.create_study(study_name="f", storage=storage)
    with pytest.raises(StudyError, match="was not made by dnntune"):
        open_study(storage)
    with pytest.raises(StudyError, match="was not made by dnntune"):
        stored_definition(load_study(storage, "f"))


@pytest.mark.parametrize("steps", range(7))
def test_a_study_whose_making_was_cut_short_is_made_whole(
    steps: int, storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "MAKING_SECONDS", 0.0)
    left = iter(range(steps))

    def cut_short(write: Any) -> Any:
        def writes(*arguments: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(*arguments, **named)

        return writes

    with monkeypatch.context() as patched:
        for name in ("set_study_user_attr", "set_study_system_attr", "create_new_trial"):
            patched.setattr(storage, name, cut_short(getattr(storage, name)))
        with pytest.raises(OSError, match="No space"):
            open_study(storage)
    study = open_study(storage)
    assert [trial.system_attrs["fixed_params"] for trial in study.trials] == [
        {"model.width": "[8, 4]", "optimizer.kind": "sgd"}
    ]
    assert stored_definition(study)[1] == read().study


def test_a_study_carries_its_space_and_settings(storage: optuna.storages.BaseStorage) -> None:
    study, file = open_study(storage), read()
    space, settings = stored_definition(study)
    assert settings == file.study
    assert isinstance(space, SearchSpace)
    assert space.root == file.space.root
    assert space.definition == file.space.definition
    assert study.user_attrs[TOTAL] == 100


def test_cases_are_carried_too(storage: optuna.storages.BaseStorage) -> None:
    cases = Cases({"full": next(read("space: {data: {kind: digits}}").space.boundary_configs([]))}, 2)
    study = create_or_resume(storage, "c", cases.settings(), cases)
    found, settings = stored_definition(study)
    assert isinstance(found, Cases)
    assert found.configs == cases.configs
    assert settings == cases.settings()


def test_a_function_is_not_carried(storage: optuna.storages.BaseStorage) -> None:
    study = create_or_resume(storage, "g", StudyConfig(), read().space.sample)
    with pytest.raises(StudyError, match="Call run_study with that function here"):
        stored_definition(study)


def test_a_study_takes_its_settings_from_the_last_run(storage: optuna.storages.BaseStorage) -> None:
    open_study(storage)
    study = open_study(storage, TEXT.replace("trials: 100,", "trials: 200, retries: 5,"))
    assert study.user_attrs[TOTAL] == 200
    assert study.user_attrs[SETTINGS]["retries"] == 5


def test_an_unknown_study_names_the_known_ones(storage: optuna.storages.BaseStorage) -> None:
    with pytest.raises(StudyError, match="It is empty: create a study with dnntune run"):
        load_study(storage, "g")
    open_study(storage)
    with pytest.raises(StudyError, match=r"no study named ff in this storage\. Did you mean f"):
        load_study(storage, "ff")


def test_a_grid_has_each_combination_once() -> None:
    points = grid(read().space, 2)
    # 2 widths x (sgd + 2 rates of adamw) x 2 of 3 epochs
    assert len(points) == 2 * 3 * 2
    assert len({str(point) for point in points}) == len(points)
    assert all(("optimizer.adamw.lr" in point) == (point["optimizer.kind"] == "adamw") for point in points)
    rates = {point["optimizer.adamw.lr"] for point in points if "optimizer.adamw.lr" in point}
    assert rates == {1e-4, 1e-2}


def test_a_grid_study_runs_the_whole_grid(storage: optuna.storages.BaseStorage) -> None:
    text = TEXT.replace(
        "trials: 100, baselines: [{model.width: [8, 4], optimizer.kind: sgd}]", "sampler: {kind: grid, points: 2}"
    )
    study, space = open_study(storage, text), read(text).space
    configs = {str(space.sample(study.ask()).to_dict()) for _ in range(12)}
    assert len(configs) == 12
    assert num_trials(read(text).study, space) == 12


def test_a_grid_that_is_too_large_is_refused() -> None:
    space = read("space: {data: {kind: digits}, epochs: {int: [1, 100]}, seed: {int: [0, 100]}}").space
    with pytest.raises(StudyError, match=r"sampler: a grid may have 5,000 combinations; this one has 10,100"):
        num_trials(StudyConfig.model_validate({"sampler": {"kind": "grid", "points": 5_000}}), space)


def test_a_study_needs_no_more_trials_than_there_are_configurations() -> None:
    small = read("space: {data: {kind: digits}, epochs: {int: [2, 4]}, optimizer: {choice: [sgd, adamw]}}")
    assert num_trials(small.study, small.space) == 6
    assert num_trials(read().study, read().space) == 100
    fixed = read("space: {data: {kind: digits}}")
    assert num_trials(fixed.study, fixed.space) == 1


def test_what_a_dead_process_left_running_is_resumed_so_many_times(storage: optuna.storages.BaseStorage) -> None:
    study = open_study(storage)
    drawn = study.ask()
    read().space.sample(drawn)
    for retry in (1, 2):
        recover_trials(study, retries=2)
        (trial,) = study.trials
        assert trial.state == optuna.trial.TrialState.WAITING
        assert outcome_of(trial) is None
        assert attempt_of(trial).retry == retry
        assert study.ask().number == 0
        assert study.trials[0].params == drawn.params
    recover_trials(study, retries=2)
    (trial,) = study.trials
    result = result_of(trial)
    assert result is not None
    assert (result.outcome, result.reason) == ("failed", "its process died, after 2 retries")


def test_every_configuration_of_a_space_with_steps_is_counted() -> None:
    space: SearchSpace = read(
        "space: {data: {kind: digits}, epochs: {int: [2, 10], step: 4}, max_norm: {float: [0.5, 1.5], step: 0.5}}"
    ).space
    assert space.num_configurations() == 9
    assert len(list(space.combinations(lambda p: p.distribution.values(100)))) == 9


def complete() -> TrialResult:
    return TrialResult("complete", value=1.0)


def test_the_same_failure_three_times_in_a_row_is_hopeless() -> None:
    budget = Budget(deadline=None)
    for reason in ("a", "b", "b"):
        budget.ended(TrialResult("failed", reason=reason))
    assert not budget.hopeless
    budget.ended(TrialResult("failed", reason="b"))
    assert budget.hopeless
    assert budget.used_up


def test_a_success_in_between_gives_hope() -> None:
    budget = Budget(deadline=None)
    for result in (TrialResult("failed", reason="a"), TrialResult("failed", reason="a"), complete()):
        budget.ended(result)
    budget.ended(TrialResult("failed", reason="a"))
    assert not budget.hopeless


def test_no_trial_starts_after_the_deadline() -> None:
    assert Budget(deadline=0.0).used_up
