"""Studies made by hand, for what their reports say and how they look."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.records.results import CURVE_NAMES, Outcome, TrialResult, Verdict
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.study.attributes import CONFIG, CURVES, IS_CASES, METRICS, RESULT, SETTINGS, SPACE
from pipeline.study.trials import STATES

BEGUN = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
SPACE_TEXT = """
space:
  data: {kind: digits}
  model:
    hidden_layers: {int: [1, 3]}
    width: 16
    activation: {choice: [relu, selu]}
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [1e-2, 1.0], log: true}, momentum: {float: [0.0, 0.9]}}
      - {kind: adamw, lr: {float: [1e-4, 1e-2], log: true}}
  epochs: 10
"""
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "model.hidden_layers": IntDistribution(1, 3),
    "model.activation": CategoricalDistribution(["relu", "selu"]),
    "optimizer.kind": CategoricalDistribution(["sgd", "adamw"]),
    "optimizer.sgd.lr": FloatDistribution(1e-2, 1.0, log=True),
    "optimizer.sgd.momentum": FloatDistribution(0.0, 0.9),
    "optimizer.adamw.lr": FloatDistribution(1e-4, 1e-2, log=True),
}


def empty_study(metrics: Sequence[str] = ("valid_accuracy",)) -> optuna.Study:
    """A study in which nothing has run."""
    settings = StudyConfig.model_validate({"metrics": list(metrics), "seed": 3})
    study = optuna.create_study(study_name="by_hand", directions=list(settings.directions))
    study.set_user_attr(SPACE, dict(read_space(parse(SPACE_TEXT, "by_hand"), "by_hand").space.definition))
    study.set_user_attr(IS_CASES, False)
    study.set_user_attr(SETTINGS, settings.model_dump(mode="json"))
    study.set_user_attr(METRICS, list(metrics))
    return study


def point(index: int) -> dict[str, Any]:
    """What a trial has drawn; every second one has the other optimizer."""
    shared = {"model.hidden_layers": 1 + index % 3, "model.activation": ["relu", "selu"][index // 2 % 2]}
    if index % 2:
        return {**shared, "optimizer.kind": "adamw", "optimizer.adamw.lr": 1e-4 * 1.2 ** (index % 20)}
    return {
        **shared,
        "optimizer.kind": "sgd",
        "optimizer.sgd.lr": 0.01 * 1.1 ** (index % 20),
        "optimizer.sgd.momentum": 0.5,
    }


def config_of(drawn: dict[str, Any]) -> dict[str, Any]:
    """The whole configuration, as plain values."""
    kind = drawn["optimizer.kind"]
    hanging = f"optimizer.{kind}."
    optimizer = {name.removeprefix(hanging): value for name, value in drawn.items() if name.startswith(hanging)}
    model = {"hidden_layers": drawn["model.hidden_layers"], "width": 16, "activation": drawn["model.activation"]}
    fields = {"data": {"kind": "digits"}, "model": model, "optimizer": {"kind": kind, **optimizer}, "epochs": 10}
    return TrialConfig.model_validate(fields).to_dict()


def curves_to(value: float, epochs: int) -> dict[str, Any]:
    """Curves that end at a value; each epoch takes two seconds."""
    curves: dict[str, Any] = {name: [0.5] * epochs for name in CURVE_NAMES}
    rising = [value - 0.5 / epoch + 0.5 / epochs for epoch in range(1, epochs + 1)]
    flow = [[epoch, [1e-3, 1e-2, 1e-1]] for epoch in range(1, epochs + 1)]
    rates = [0.1 / epoch for epoch in range(1, epochs + 1)]
    return {**curves, "valid_accuracy": rising, "lr": rates, "seconds": [2.0] * epochs, "gradient_flow": flow}


def add(study: optuna.Study, index: int, outcome: Outcome, value: float | None, **result: Any) -> None:
    """Adds a trial that has ended; a complete one trained for ten epochs, any other one for four."""
    drawn, epochs = point(index), 10 if outcome == "complete" else 4
    further = [float(1000 * (index % 7 + 1)) for _ in study.directions[1:]]
    ended = TrialResult(
        outcome,
        value,
        epochs=epochs,
        best_epoch=epochs,
        best_valid_accuracy=value,
        num_parameters=1000 * (index % 7 + 1),
        seconds=2.0 * epochs,
        verdict=Verdict("healthy", "all is well"),
    )
    attrs = {CONFIG: config_of(drawn), RESULT: dataclasses.replace(ended, **result).to_json()}
    if value is not None:
        attrs[CURVES] = curves_to(value, epochs)
    trial = create_trial(
        params=drawn,
        distributions={name: DISTRIBUTIONS[name] for name in drawn},
        values=[value or 0.0, *further] if outcome == "complete" else None,
        state=STATES[outcome],
        user_attrs=attrs,
    )
    _timed(trial, index)
    study.add_trial(trial)


def add_broken(study: optuna.Study, index: int) -> None:
    """Adds a trial that failed before it had a configuration."""
    result = TrialResult("failed", reason="ValueError: <script>alert('no image')</script>")
    trial = create_trial(state=TrialState.FAIL, user_attrs={RESULT: result.to_json()})
    _timed(trial, index)
    study.add_trial(trial)


def varied_study(num_complete: int = 12, metrics: Sequence[str] = ("valid_accuracy",)) -> optuna.Study:
    """A study with complete, pruned, diverged and failed trials; one took over another's result, and one waits."""
    study = empty_study(metrics)
    for index in range(num_complete):
        add(study, index, "complete", 0.9 + 0.005 * (index % 9))
    for index in range(num_complete, num_complete + 4):
        add(study, index, "pruned", 0.85 + 0.001 * (index % 20))
    add(study, num_complete + 4, "diverged", 0.2, reason="the training loss is not finite in epoch 3")
    add(study, num_complete + 5, "failed", None, reason="RuntimeError: out of memory")
    add_broken(study, num_complete + 6)
    add(study, 0, "complete", 0.9, duplicate_of=0)
    study.enqueue_trial(point(1))
    return study


def _timed(trial: FrozenTrial, index: int) -> None:
    """Lets a trial begin ten seconds after the one before it, and last for eight."""
    trial.datetime_start = BEGUN + timedelta(seconds=10 * index)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=8)
