"""Trials whose value is a mean over folds."""

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config.data import Digits
from pipeline.config.study import Median, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.records.events import EpochEnded, Event, TrialEnded, TrialStarted
from pipeline.records.results import EpochResult, TrialResult
from pipeline.search.pruners import build_pruner
from pipeline.study.attributes import CURVES
from pipeline.study.trials import finish, result_of
from pipeline.training.start import start
from pipeline.workers.objective import run_trial
from pipeline.workers.task import SupervisorGoneError

FOLDS = 3
EPOCHS = 3


class KilledError(SupervisorGoneError):
    """The process is gone: nothing is saved any more."""


@pytest.fixture(scope="module")
def folded() -> ImageData:
    return load_data(Digits(folds=FOLDS))


def make(**settings: object) -> TrialConfig:
    fields = {"data": {"kind": "digits", "folds": FOLDS}, "epochs": EPOCHS, "model": {"width": 16}, **settings}
    return TrialConfig.model_validate(fields)


Run = Callable[..., TrialResult]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def run(study: optuna.Study, folded: ImageData, events: list[Event], tmp_path: Path) -> Run:
    def one(
        config: TrialConfig, *, stop_after: int | None = None, kill_after: int | None = None, **settings: object
    ) -> TrialResult:
        def epochs() -> int:
            return sum(isinstance(event, EpochEnded) for event in events)

        def emit(event: Event) -> None:
            if kill_after is not None and epochs() >= kill_after:
                raise KilledError
            events.append(event)

        events.clear()
        run_trial(
            study,
            study.ask(),
            sample=lambda trial: config,
            settings=StudyConfig.model_validate(settings),
            load=lambda config: folded,
            emit=emit,
            stopping=lambda: stop_after is not None and epochs() >= stop_after,
            checkpoints=tmp_path / "checkpoints",
        )
        ended = events[-1]
        assert isinstance(ended, TrialEnded)
        return ended.result

    return one


def trained(events: list[Event]) -> list[EpochResult]:
    """The epochs, without what depends on the clock."""
    found = [event.result for event in events if isinstance(event, EpochEnded)]
    return [replace(epoch, seconds=0.0, samples_per_second=0.0, ended=0.0) for epoch in found]


def num_before(events: list[Event], started: TrialStarted) -> int:
    """How many epochs came from a checkpoint."""
    return sum(isinstance(event, EpochEnded) and event.result.ended < started.started for event in events)


def best_of(epochs: list[EpochResult]) -> EpochResult:
    return next(epoch for epoch in reversed(epochs) if epoch.is_best)


def by_hand(config: TrialConfig, folded: ImageData) -> list[EpochResult]:
    """Trains each fold as a data set of its own; returns the best epochs."""
    return [best_of(list(start(config, folded.fold(number)).epochs)) for number in range(1, FOLDS + 1)]


def test_a_trials_value_is_the_mean_of_its_folds_trained_by_hand(
    run: Run, study: optuna.Study, folded: ImageData
) -> None:
    result = run(make())
    best = by_hand(make(), folded)
    accuracies = [epoch.valid_accuracy for epoch in best]
    assert [fold.value for fold in result.folds] == accuracies
    assert len(set(accuracies)) > 1
    assert result.value == result.best_valid_accuracy == statistics.fmean(accuracies)
    assert result.best_valid_loss == statistics.fmean(epoch.valid_loss for epoch in best)
    assert (result.value_std, result.metric_std("valid_accuracy")) == (statistics.stdev(accuracies),) * 2
    assert result.metric_std("num_parameters") is None
    assert (result.outcome, result.epochs, result.num_parameters) == ("complete", FOLDS * EPOCHS, 1_802)
    (trial,) = study.trials
    assert trial.values == [result.value]
    running = [statistics.fmean(accuracies[:number]) for number in range(1, FOLDS + 1)]
    assert trial.intermediate_values == dict(enumerate(running, 1))
    assert result_of(trial) == result


def test_the_stored_curves_are_means_over_folds(run: Run, study: optuna.Study, events: list[Event]) -> None:
    run(make())
    curves, epochs = study.trials[0].user_attrs[CURVES], trained(events)
    assert [len(curves[name]) for name in ("valid_accuracy", "lr", "ended")] == [EPOCHS] * 3
    for number in range(1, EPOCHS + 1):
        same = [epoch.valid_loss for epoch in epochs if epoch.epoch == number]
        assert len(same) == FOLDS
        assert curves["valid_loss"][number - 1] == pytest.approx(statistics.fmean(same), rel=1e-5)


@pytest.fixture(scope="module")
def uninterrupted(folded: ImageData) -> tuple[list[EpochResult], optuna.trial.FrozenTrial]:
    study, told = optuna.create_study(direction="maximize"), list[Event]()
    run_trial(
        study,
        study.ask(),
        sample=lambda trial: make(),
        settings=StudyConfig(),
        load=lambda config: folded,
        emit=told.append,
        stopping=lambda: False,
    )
    return trained(told), study.trials[0]


@pytest.mark.parametrize("after", range(1, FOLDS * EPOCHS))
@pytest.mark.parametrize("how", ["stop_after", "kill_after"])
def test_a_trial_that_is_resumed_in_any_fold_equals_one_that_ran_through(
    run: Run,
    study: optuna.Study,
    events: list[Event],
    uninterrupted: tuple[list[EpochResult], optuna.trial.FrozenTrial],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    how: str,
) -> None:
    monkeypatch.setattr("pipeline.training.checkpoint.SPARING", 0.0)
    with pytest.raises(KilledError) if how == "kill_after" else nullcontext():
        assert run(make(), **{how: after}).outcome == "interrupted"
    assert study.trials[0].state == TrialState.WAITING
    assert run(make()).outcome == "complete"
    started = next(event for event in events if isinstance(event, TrialStarted))
    assert num_before(events, started) == after
    epochs, trial = uninterrupted
    assert trained(events) == epochs
    assert study.trials[0].intermediate_values == trial.intermediate_values
    assert study.trials[0].values == trial.values


def test_further_metrics_are_means_too(run: Run, study: optuna.Study, events: list[Event]) -> None:
    result = run(make(), metrics=("valid_macro_f1",))
    best = [best_of([epoch for epoch in trained(events) if epoch.fold == fold]) for fold in range(1, FOLDS + 1)]
    values = [epoch.metrics["valid_macro_f1"] for epoch in best]
    assert result.value == result.metric_value("valid_macro_f1") == statistics.fmean(values)
    assert result.metric_std("valid_macro_f1") == statistics.stdev(values)
    assert len(study.trials[0].user_attrs[CURVES]["valid_macro_f1"]) == EPOCHS


def test_an_interrupted_trial_says_where(run: Run) -> None:
    assert run(make(), stop_after=5).reason == "in fold 2, after epoch 2"


def test_a_trial_is_pruned_between_folds(run: Run, study: optuna.Study, events: list[Event]) -> None:
    study.pruner = build_pruner(Median(startup_trials=1, warmup_epochs=3), max_epochs=EPOCHS, num_folds=FOLDS)
    run(make())
    result = run(make(optimizer={"kind": "adamw", "lr": 1e-6}))
    assert (result.outcome, result.reason) == ("pruned", "after fold 1")
    assert len(trained(events)) == EPOCHS
    assert (len(result.folds), result.value) == (1, study.trials[1].intermediate_values[1])
    assert list(study.trials[1].intermediate_values) == [1]
    assert study.trials[1].state == TrialState.PRUNED


def test_a_trial_that_is_stopped_where_it_would_be_pruned_is_pruned_when_it_is_resumed(
    run: Run, study: optuna.Study
) -> None:
    study.pruner = build_pruner(Median(startup_trials=1), max_epochs=EPOCHS, num_folds=FOLDS)
    run(make())
    bad = make(optimizer={"kind": "adamw", "lr": 1e-6})
    assert run(bad, stop_after=EPOCHS).outcome == "interrupted"
    assert run(bad).reason == "after fold 1"


def test_a_trial_that_has_trained_its_last_fold_is_complete(run: Run, study: optuna.Study) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, _study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return len(trial.intermediate_values) == FOLDS

    study.pruner = Always()
    assert run(make()).outcome == "complete"


def test_a_fold_that_diverges_makes_the_trial_diverge(study: optuna.Study, folded: ImageData) -> None:
    broken = replace(folded.folds[1], scale=folded.folds[1].scale * 1e38)
    data, told = replace(folded, folds=(folded.folds[0], broken, folded.folds[2])), list[Event]()
    run_trial(
        study,
        study.ask(),
        sample=lambda trial: make(),
        settings=StudyConfig(),
        load=lambda config: data,
        emit=told.append,
        stopping=lambda: False,
    )
    ended = told[-1]
    assert isinstance(ended, TrialEnded)
    assert ended.result.outcome == "diverged"
    assert str(ended.result.reason).startswith("fold 2: the ")
    assert len(ended.result.folds) == 1


def test_what_failed_in_a_fold_is_tried_again_from_there(run: Run, study: optuna.Study, events: list[Event]) -> None:
    run(make(), stop_after=5)
    dead = study.ask()
    dead.suggest_int("seed", 0, 0)
    assert finish(study, dead, None, TrialResult("failed", reason="killed"), retries=1)
    result = run(make())
    started = next(event for event in events if isinstance(event, TrialStarted))
    assert (started.number, started.retry, num_before(events, started)) == (1, 1, 5)
    assert (result.outcome, len(result.folds)) == ("complete", FOLDS)
    assert list(study.trials[1].intermediate_values) == [1, 2, 3]


def test_its_time_limit_ends_a_trial_in_a_fold(run: Run) -> None:
    result = run(make(), trial_timeout=1e-9)
    assert (result.outcome, result.folds) == ("pruned", ())
    assert result.reason == "in fold 1, after epoch 1: its time limit of 1e-09 s has passed"
    assert result.value is not None


def test_a_hopeless_network_is_pruned_in_its_first_fold(run: Run) -> None:
    sigmoid = {"hidden_layers": 20, "width": 16, "activation": "sigmoid", "batch_norm": "none"}
    result = run(make(model=sigmoid), pruner={"kind": "none", "by_verdict": True})
    assert str(result.reason).startswith("in fold 1, after epoch 1 by its verdict: vanishing")


def test_the_same_configuration_again_takes_the_result(run: Run) -> None:
    first, second = run(make()), run(make())
    assert (second.duplicate_of, second.folds, second.value) == (0, first.folds, first.value)
