"""The verdict of a trial: stored, and ended by if the study wants that."""

import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from pydantic import TypeAdapter

from pipeline.config.study import NoPruning, PrunerConfig, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.records.events import EpochEnded, TrialEnded
from pipeline.records.results import RESULT_TYPE, TrialResult, Verdict
from pipeline.study.trials import result_of
from pipeline.workers.objective import run_trial

Make = Callable[..., TrialConfig]
Run = Callable[..., TrialResult]

SIGMOID: dict[str, Any] = {
    "model": {"hidden_layers": 12, "width": 20, "activation": "sigmoid", "batch_norm": "none"},
    "schedule": {"kind": "constant"},
}
# Each layer's variance is 4.5 times that of the one before; and the first step leaves nothing finite.
GROWING = {"hidden_layers": 20, "width": 20, "initialization": "he", "initialization_gain": 3.0, "batch_norm": "none"}
EXPLODING: dict[str, Any] = {
    "model": GROWING,
    "optimizer": {"kind": "sgd", "lr": 0.05},
    "schedule": {"kind": "constant"},
}
BY_VERDICT = StudyConfig(pruner=NoPruning(by_verdict=True))


@pytest.fixture
def run(study: optuna.Study, small_data: ImageData, recorder) -> Run:  # type: ignore[no-untyped-def]
    study.pruner = optuna.pruners.NopPruner()

    def one(config: TrialConfig, settings: StudyConfig = StudyConfig()) -> TrialResult:  # noqa: B008 - immutable
        run_trial(
            study,
            study.ask(),
            sample=lambda trial: config,
            settings=settings,
            load=lambda config: small_data,
            emit=recorder.events.append,
            stopping=lambda: False,
        )
        ended = recorder.events[-1]
        assert isinstance(ended, TrialEnded)
        return ended.result

    return one


def test_a_trial_keeps_its_verdict(run: Run, study: optuna.Study, config: Make) -> None:
    result = run(config())
    assert result.verdict is not None
    assert result.verdict.label == "healthy"
    assert result.verdict.text.startswith("the gradient at layer 1 is ")
    assert result_of(study.trials[0]) == result
    assert study.trials[0].user_attrs["result"]["verdict"] == {"label": "healthy", "text": result.verdict.text}


def test_every_epoch_has_its_gradient_flow(run: Run, config: Make, recorder) -> None:  # type: ignore[no-untyped-def]
    run(config(), StudyConfig(gradient_flow_steps=1))
    flows = [event.result.gradient_flow for event in recorder.of(EpochEnded)]
    # three hidden layers and the output
    assert [[layer.layer for layer in flow] for flow in flows] == [[1, 2, 3, 4]] * 4


def test_epochs_without_a_measurement_keep_the_verdict(run: Run, config: Make, recorder) -> None:  # type: ignore[no-untyped-def]
    # two steps an epoch: the first alone is measured
    result = run(config(**SIGMOID), StudyConfig(gradient_flow_steps=1000))
    flows = [event.result.gradient_flow for event in recorder.of(EpochEnded)]
    assert [bool(flow) for flow in flows] == [True, False, False, False]
    assert result.verdict is not None
    assert result.verdict.label == "vanishing"


def test_a_hopeless_trial_goes_on_by_default(run: Run, study: optuna.Study, config: Make) -> None:
    result = run(config(**SIGMOID))
    assert (result.outcome, result.epochs, result.reason) == ("complete", 4, None)
    assert result.verdict is not None
    assert result.verdict.label == "vanishing"
    assert study.trials[0].state == TrialState.COMPLETE


def test_a_hopeless_trial_ends_after_its_first_epoch_by_verdict(run: Run, study: optuna.Study, config: Make) -> None:
    result = run(config(**SIGMOID), BY_VERDICT)
    assert (result.outcome, result.epochs) == ("pruned", 1)
    assert result.verdict is not None
    assert result.verdict.label == "vanishing"
    assert result.reason == f"after epoch 1 by its verdict: vanishing, {result.verdict.text}"
    assert study.trials[0].state == TrialState.PRUNED
    assert list(study.trials[0].intermediate_values) == [1]


def test_an_explosion_ends_a_trial_by_verdict(run: Run, config: Make) -> None:
    # a rate so small that the first epoch's losses are finite
    still = {"optimizer": {"kind": "sgd", "lr": 1e-30}, "model": GROWING, "schedule": {"kind": "constant"}}
    result = run(config(**still), BY_VERDICT)
    assert (result.outcome, result.epochs) == ("pruned", 1)
    assert str(result.reason).startswith("after epoch 1 by its verdict: exploding, ")


def test_a_healthy_trial_is_not_ended_by_verdict(run: Run, config: Make) -> None:
    assert run(config(), BY_VERDICT).outcome == "complete"


def test_without_measurement_there_is_no_verdict(run: Run, config: Make, recorder) -> None:  # type: ignore[no-untyped-def]
    settings = StudyConfig(gradient_flow_steps=None, pruner=NoPruning())
    result = run(config(**SIGMOID), settings)
    assert (result.outcome, result.epochs, result.verdict) == ("complete", 4, None)
    assert all(event.result.gradient_flow == () for event in recorder.of(EpochEnded))


@pytest.mark.parametrize("kind", ["none", "patient", "median", "percentile", "successive_halving", "hyperband"])
def test_every_pruner_can_also_go_by_the_verdict(kind: str) -> None:
    adapter: TypeAdapter[PrunerConfig] = TypeAdapter(PrunerConfig)
    assert StudyConfig(pruner=adapter.validate_python({"kind": kind, "by_verdict": True})).pruner.by_verdict
    assert not StudyConfig(pruner=adapter.validate_python({"kind": kind})).pruner.by_verdict


def test_an_explosion_that_diverges_is_an_explosion(run: Run, config: Make) -> None:
    result = run(config(**EXPLODING))
    assert (result.outcome, result.epochs) == ("diverged", 0)
    assert result.verdict is not None
    assert result.verdict.label == "exploding"
    assert result.verdict.text.endswith(f"; {result.reason}")


def test_a_divergence_without_an_explosion_is_one(run: Run, config: Make) -> None:
    # the network is sound, its rate is not
    result = run(config(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"}))
    assert result.outcome == "diverged"
    assert result.verdict == Verdict("diverged", str(result.reason))


def test_gradients_too_large_to_square_explode(run: Run, config: Make) -> None:
    result = run(config(model={**GROWING, "hidden_layers": 80, "width": 50}))
    assert result.verdict is not None
    assert result.verdict.label == "exploding"


def test_a_result_that_is_taken_over_has_its_verdict(run: Run, config: Make) -> None:
    first, second = run(config(**SIGMOID)), run(config(**SIGMOID))
    assert second.duplicate_of == 0
    assert second.verdict == first.verdict
    assert second.verdict is not None


@pytest.mark.parametrize("verdict", [None, Verdict("dead", "62% of layer 3's units are positive for no image")])
def test_a_result_comes_back_from_json(verdict: Verdict | None) -> None:
    result = TrialResult("pruned", value=0.5, epochs=1, best_epoch=1, reason="after epoch 1", verdict=verdict)
    assert RESULT_TYPE.validate_json(json.dumps(result.to_json())) == result


def test_a_result_from_before_there_were_verdicts_has_none() -> None:
    fields = TrialResult("complete", value=0.5).to_json()
    del fields["verdict"]
    assert RESULT_TYPE.validate_python(fields) == TrialResult("complete", value=0.5)
