from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.records import EpochEnded, TrialEnded, TrialResult, TrialStarted
from pipeline.study.objective import run_trial
from pipeline.study.trials import CONFIG, best_trial, count_outcomes, num_counted, outcome_of, result_of
from pipeline.study_config import StudyConfig

Make = Callable[..., TrialConfig]


@pytest.fixture
def run(study: optuna.Study, small_data: ImageData, recorder) -> Callable[..., TrialResult]:  # type: ignore[no-untyped-def]
    def one(sample: Callable[[optuna.Trial], TrialConfig], stop_after: int | None = None) -> TrialResult:
        def stopping() -> bool:
            return stop_after is not None and len(recorder.of(EpochEnded)) >= stop_after

        run_trial(
            study,
            sample=sample,
            settings=StudyConfig(),
            load=lambda config: small_data,
            emit=recorder.events.append,
            stopping=stopping,
        )
        ended = recorder.events[-1]
        assert isinstance(ended, TrialEnded)
        return ended.result

    return one


def test_a_complete_trial(run, study: optuna.Study, config: Make, recorder) -> None:  # type: ignore[no-untyped-def]
    result = run(lambda trial: config(seed=trial.suggest_int("seed", 5, 5)))
    assert (result.outcome, result.epochs) == ("complete", 4)
    started, ended = recorder.events[0], recorder.events[-1]
    assert isinstance(started, TrialStarted)
    assert started.params == {"seed": 5}
    epochs = [event.result for event in recorder.of(EpochEnded)]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4]
    best = max(epochs, key=lambda epoch: epoch.valid_accuracy)
    assert result.value == result.best_valid_accuracy == best.valid_accuracy
    assert result.best_epoch == best.epoch
    (trial,) = study.trials
    assert trial.state == TrialState.COMPLETE
    assert trial.value == result.value
    assert trial.user_attrs[CONFIG] == config(seed=5).plain()
    assert result_of(trial) == ended.result
    assert trial.intermediate_values == {epoch.epoch: epoch.valid_accuracy for epoch in epochs}


def test_a_pruned_trial(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    study.pruner = optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=2)
    result = run(lambda trial: config())
    assert (result.outcome, result.epochs, result.reason) == ("pruned", 2, "after epoch 2")
    assert study.trials[0].state == TrialState.PRUNED


def test_a_diverged_trial(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    result = run(lambda trial: config(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"}))
    assert result.outcome == "diverged"
    assert "is not finite, in epoch 1" in str(result.reason)
    assert study.trials[0].state == TrialState.PRUNED
    assert count_outcomes(study.trials)["diverged"] == 1


def test_a_failed_trial(run, study: optuna.Study) -> None:  # type: ignore[no-untyped-def]
    def sample(trial: optuna.Trial) -> TrialConfig:
        raise ZeroDivisionError("nothing there")

    result = run(sample)
    assert (result.outcome, result.reason) == ("failed", "ZeroDivisionError: nothing there")
    assert "in sample" in str(result.traceback)
    assert study.trials[0].state == TrialState.FAIL


def test_an_interrupted_trial_is_run_again(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    def sample(trial: optuna.Trial) -> TrialConfig:
        return config(seed=trial.suggest_int("seed", 0, 10**6))

    assert run(sample, stop_after=1).outcome == "interrupted"
    first = study.trials[0]
    assert first.state == TrialState.FAIL
    assert num_counted(study.trials) == 0
    assert run(sample).outcome == "complete"
    again = study.trials[1]
    assert again.params == first.params
    assert again.user_attrs["again"] == 0


def test_a_configuration_is_not_trained_twice(run, study: optuna.Study, config: Make, recorder) -> None:  # type: ignore[no-untyped-def]
    first = run(lambda trial: config(seed=3))
    trained = len(recorder.of(EpochEnded))
    second = run(lambda trial: config(seed=3))
    assert len(recorder.of(EpochEnded)) == trained
    assert (second.outcome, second.value, second.same_as) == ("complete", first.value, 0)
    assert second.reason == "same as trial 0"
    assert study.trials[1].value == first.value
    best = best_trial(study)
    assert best is not None
    assert best.number == 0
    assert run(lambda trial: config(seed=4)).same_as is None


def test_a_diverged_configuration_is_not_tried_twice(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    for _ in range(2):
        run(lambda trial: config(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"}))
    assert [outcome_of(trial) for trial in study.trials] == ["diverged", "diverged"]
    second = result_of(study.trials[1])
    assert second is not None
    assert second.same_as == 0
