import errno
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from safetensors.torch import load_file

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DiskFullError
from pipeline.core.filesystem.folders import MARK
from pipeline.data.image_data import ImageData
from pipeline.models.build import build_model
from pipeline.records.events import EpochEnded, TrialEnded, TrialStarted
from pipeline.records.results import TrialResult
from pipeline.storage.internals import storage_of
from pipeline.study.attributes import CONFIG, CURVES
from pipeline.study.saved_models import SavedModels
from pipeline.study.trials import (
    HEARTBEAT_EXPIRED,
    Attempt,
    attempt_of,
    best_trials,
    count_outcomes,
    finish,
    has_retry,
    num_counted,
    outcome_of,
    result_of,
)
from pipeline.training.evaluation import evaluate
from pipeline.training.start import start
from pipeline.workers.objective import ENDED_ELSEWHERE, run_trial

Make = Callable[..., TrialConfig]
STANDSTILL = {"optimizer": {"kind": "sgd", "lr": 1e-30}, "model": {"batch_norm": "none"}}
SIGMOID = {"hidden_layers": 20, "activation": "sigmoid", "batch_norm": "none"}  # its gradients vanish


@pytest.fixture
def run(study: optuna.Study, small_data: ImageData, recorder, tmp_path: Path) -> Callable[..., TrialResult]:  # type: ignore[no-untyped-def]
    def one(
        sample: Callable[[optuna.Trial], TrialConfig], stop_after: int | None = None, **settings: object
    ) -> TrialResult:
        def stopping() -> bool:
            return stop_after is not None and len(recorder.of(EpochEnded)) >= stop_after

        run_trial(
            study,
            study.ask(),
            sample=sample,
            settings=StudyConfig.model_validate(settings),
            load=lambda config: small_data,
            emit=recorder.events.append,
            stopping=stopping,
            checkpoints=tmp_path / "checkpoints",
            models=SavedModels(tmp_path / "models", 1),
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
    assert trial.user_attrs[CONFIG] == config(seed=5).to_dict()
    assert result_of(trial) == ended.result
    assert trial.intermediate_values == {epoch.epoch: epoch.valid_accuracy for epoch in epochs}
    assert trial.user_attrs[CURVES]["valid_loss"] == pytest.approx([epoch.valid_loss for epoch in epochs], rel=1e-5)


def test_the_best_epochs_weights_are_kept(run, config: Make, small_data: ImageData, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = run(lambda trial: config())
    network = build_model(config().model, image_shape=small_data.image_shape, num_classes=small_data.num_classes)
    network.load_state_dict(load_file(tmp_path / "models" / "trial-0000.safetensors"))
    assert evaluate(network, small_data.valid, nullcontext()) == (result.best_valid_loss, result.value)


def test_a_trial_that_was_pruned_keeps_no_weights(run, config: Make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run(lambda trial: config(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"}))
    assert not (tmp_path / "models").exists()


def test_a_pruned_trial(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    study.pruner = optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=2)
    result = run(lambda trial: config())
    assert (result.outcome, result.epochs, result.reason) == ("pruned", 2, "after epoch 2")
    assert study.trials[0].state == TrialState.PRUNED


@pytest.mark.parametrize(
    ("config_settings", "study_settings", "epochs"),
    [
        ({"epochs": 3}, {}, 3),
        ({"epochs": 9, "early_stopping": {"patience": 2}, **STANDSTILL}, {}, 3),
        ({"epochs": 1}, {"trial_timeout": 1e-6}, 1),
        ({"epochs": 1, "model": SIGMOID}, {"pruner": {"kind": "none", "by_verdict": True}}, 1),
    ],
)
def test_a_trial_that_has_trained_its_last_epoch_is_complete(  # type: ignore[no-untyped-def]
    config_settings: dict[str, object],
    study_settings: dict[str, object],
    epochs: int,
    run,
    study: optuna.Study,
    config: Make,
    tmp_path: Path,
) -> None:
    study.pruner = optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=epochs)
    result = run(lambda trial: config(**config_settings), **{"gradient_flow_steps": 1, **study_settings})
    assert (result.outcome, result.epochs, result.reason) == ("complete", epochs, None)
    assert (study.trials[0].state, study.trials[0].value) == (TrialState.COMPLETE, result.value)
    assert (tmp_path / "models" / "trial-0000.safetensors").exists()


def test_a_study_that_is_stopped_after_a_trials_last_epoch_has_it(run, config: Make) -> None:  # type: ignore[no-untyped-def]
    assert run(lambda trial: config(), stop_after=4).outcome == "complete"


def test_the_pruner_takes_note_of_the_last_epoch(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    """Successive halving compares other trials with what it keeps of this one."""
    study.pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=4)
    run(lambda trial: config(epochs=4))
    assert "completed_rung_0" in study.trials[0].system_attrs


def test_a_diverged_trial(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    result = run(lambda trial: config(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"}))
    assert result.outcome == "diverged"
    assert "is not finite, in epoch 1" in str(result.reason)
    assert study.trials[0].state == TrialState.PRUNED
    assert count_outcomes(study.trials)["diverged"] == 1


def test_a_failed_trial(run, study: optuna.Study) -> None:  # type: ignore[no-untyped-def]
    def sample(_trial: optuna.Trial) -> TrialConfig:
        raise ZeroDivisionError("nothing there")

    result = run(sample)
    assert (result.outcome, result.reason) == ("failed", "ZeroDivisionError: nothing there")
    assert "in sample" in str(result.traceback)
    assert study.trials[0].state == TrialState.FAIL


def draw_seed(config: Make) -> Callable[[optuna.Trial], TrialConfig]:
    return lambda trial: config(seed=trial.suggest_int("seed", 0, 10**6))


def measures(events: list[EpochEnded]) -> list[dict[str, object]]:
    """What epochs brought, without what no two runs have in common."""
    return [{**event.result.to_json(), "seconds": 0, "samples_per_second": 0, "ended": 0} for event in events]


def from_checkpoint(started: TrialStarted, epochs: list[EpochEnded]) -> int:
    """Returns how many of a trial's epochs an earlier attempt has trained."""
    return sum(event.result.ended < started.started for event in epochs)


def test_an_interrupted_trial_waits_and_is_resumed_under_its_number(  # type: ignore[no-untyped-def]
    run, study: optuna.Study, config: Make, recorder, small_data: ImageData, tmp_path: Path
) -> None:
    assert run(draw_seed(config), stop_after=2).outcome == "interrupted"
    (first,) = study.trials
    assert first.state == TrialState.WAITING
    assert (outcome_of(first), num_counted(study.trials)) == (None, 0)
    recorder.events.clear()
    result = run(draw_seed(config))
    assert (result.outcome, result.epochs) == ("complete", 4)
    (trial,) = study.trials
    assert trial.params == first.params
    started = recorder.events[0]
    assert isinstance(started, TrialStarted)
    assert (started.number, started.retry, from_checkpoint(started, recorder.of(EpochEnded))) == (0, 0, 2)
    resumed = measures(recorder.of(EpochEnded))
    assert list(trial.intermediate_values) == [1, 2, 3, 4]
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == [MARK]
    # the same without the interruption
    whole = start(config(seed=first.params["seed"]), small_data, measure_every=StudyConfig().gradient_flow_steps)
    assert measures([EpochEnded(0, epoch) for epoch in whole.epochs]) == resumed


def test_a_retry_starts_from_the_checkpoint_of_the_first_attempt(  # type: ignore[no-untyped-def]
    run, study: optuna.Study, config: Make, recorder
) -> None:
    run(draw_seed(config), stop_after=3)
    dead = study.ask()
    draw_seed(config)(dead)
    reason = "its worker was killed by SIGKILL"
    assert finish(study, dead, None, TrialResult("failed", reason=reason), retries=2)
    recorder.events.clear()
    assert run(draw_seed(config)).outcome == "complete"
    started = recorder.events[0]
    assert isinstance(started, TrialStarted)
    assert (started.number, started.retry, started.retry_of) == (1, 1, 0)
    assert from_checkpoint(started, recorder.of(EpochEnded)) == 3
    assert [event.result.epoch for event in recorder.of(EpochEnded)] == [1, 2, 3, 4]
    failed, retried = study.trials
    assert retried.params == failed.params
    assert list(retried.intermediate_values) == [1, 2, 3, 4]


def test_a_trial_is_tried_again_so_many_times_and_no_more(study: optuna.Study, config: Make) -> None:
    for attempt in range(3):
        trial = study.ask()
        draw_seed(config)(trial)
        assert has_retry(study.trials[-1], 2) == (attempt < 2)
        finish(study, trial, None, TrialResult("failed", reason="dead"), retries=2)
    assert [outcome_of(trial) for trial in study.trials] == ["failed"] * 3
    assert len({trial.params["seed"] for trial in study.trials}) == 1
    assert attempt_of(study.trials[2]) == Attempt(2, 1, 0)


def test_a_trial_without_parameters_is_not_tried_again(study: optuna.Study) -> None:
    finish(study, study.ask(), None, TrialResult("failed", reason="dead"), retries=2)
    assert len(study.trials) == 1


def test_a_baseline_that_died_before_it_was_drawn_is_tried_again(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 1.0})
    finish(study, study.ask(), None, TrialResult("failed", reason="dead"), retries=2)
    assert study.trials[1].system_attrs["fixed_params"] == {"x": 1.0}


def test_a_trial_that_was_taken_for_dead_ends_quietly(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    def sample(_trial: optuna.Trial) -> TrialConfig:
        made = draw_seed(config)(_trial)
        study.tell(_trial.number, state=TrialState.FAIL)  # what another supervisor does
        return made

    result = run(sample)
    assert (result.outcome, result.reason) == ("failed", ENDED_ELSEWHERE)
    assert outcome_of(study.trials[0]) == "failed"
    assert result_of(study.trials[0]) == HEARTBEAT_EXPIRED


def test_a_trial_ends_after_its_time(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    result = run(lambda trial: config(), trial_timeout=1e-6)
    assert (result.outcome, result.epochs) == ("pruned", 1)
    assert result.reason == "after epoch 1: its time limit of 1e-06 s has passed"
    assert study.trials[0].state == TrialState.PRUNED


def test_a_configuration_is_not_trained_twice(run, study: optuna.Study, config: Make, recorder) -> None:  # type: ignore[no-untyped-def]
    first = run(lambda trial: config(seed=3))
    trained = len(recorder.of(EpochEnded))
    second = run(lambda trial: config(seed=3))
    assert len(recorder.of(EpochEnded)) == trained
    assert (second.outcome, second.value, second.duplicate_of) == ("complete", first.value, 0)
    assert second.reason == "duplicate of trial 0"
    assert study.trials[1].value == first.value
    best = best_trials(study)[0]
    assert best is not None
    assert best.number == 0
    assert run(lambda trial: config(seed=4)).duplicate_of is None


def test_a_diverged_configuration_is_not_tried_twice(run, study: optuna.Study, config: Make) -> None:  # type: ignore[no-untyped-def]
    for _ in range(2):
        run(lambda trial: config(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"}))
    assert [outcome_of(trial) for trial in study.trials] == ["diverged", "diverged"]
    second = result_of(study.trials[1])
    assert second is not None
    assert second.duplicate_of == 0


@pytest.mark.parametrize("full", ["checkpoint", "models", "storage"])
def test_a_full_disk_ends_no_trial(run, full: str, study: optuna.Study, config: Make, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if full == "checkpoint":
            patched.setattr("pipeline.training.checkpoint.write_whole", no_space)
        elif full == "models":
            patched.setattr("pipeline.study.saved_models.write_whole", no_space)
        else:
            patched.setattr(storage_of(study), "set_trial_intermediate_value", no_space)
        with pytest.raises(DiskFullError, match=r"checkpoints: no space is left on its file system"):
            run(lambda trial: config(seed=trial.suggest_int("seed", 5, 5)))
    (trial,) = study.trials
    assert trial.state == TrialState.WAITING
    assert run(lambda trial: config(seed=trial.suggest_int("seed", 5, 5))).outcome == "complete"
    assert len(study.trials) == 1
