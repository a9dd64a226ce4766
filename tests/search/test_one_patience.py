"""Patience, warm-up and cooldown mean the same for early stopping, the schedule and the pruners, on the same curve."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest

from pipeline.config.study import Median, Patient, PrunerConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.search.pruners import build_pruner
from pipeline.training import loop
from pipeline.training.start import start

EPOCHS = 16


def curve(number: int) -> list[float]:
    """A validation loss that falls with noise, and repeats itself now and then."""
    generator = random.Random(number)
    return [round(2.0 * 0.7**epoch + generator.uniform(0.0, 0.4), 1) for epoch in range(EPOCHS)]


def best_of(losses: Sequence[float], warmup_epochs: int, patience: int) -> int | None:
    """The epoch, from 1, with which patience ends, written down once more."""
    best, since = math.inf, 0
    for epoch, loss in enumerate(losses, 1):
        if loss < best:
            best, since = loss, 0
        elif epoch > warmup_epochs:
            since += 1
        if since == patience:
            return epoch
    return None


@pytest.fixture
def trained(
    small_data: ImageData, config: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Trains with validation losses that are told; returns each epoch's last rate."""

    def trained(losses: Sequence[float], **settings: Any) -> list[float]:
        left = iter(losses)
        monkeypatch.setattr(loop, "evaluate", lambda *arguments: (next(left), 0.5))
        usual = {"epochs": EPOCHS, "batch_size": 100, "optimizer": {"kind": "sgd", "lr": 1.0}}
        fields = {**usual, "clip": {"kind": "norm", "threshold": 1e-6}, **settings}
        return [result.lr for result in start(config(**fields), small_data).epochs]

    return trained


def pruned_at(pruner: PrunerConfig, losses: Sequence[float]) -> int | None:
    """The epoch after which a trial with these losses is pruned, in a study of perfect ones."""
    study = optuna.create_study(direction="minimize", pruner=build_pruner(pruner, max_epochs=EPOCHS))
    for _ in range(5):
        perfect = study.ask()
        for epoch in range(1, EPOCHS + 1):
            perfect.report(-1.0, epoch)
        study.tell(perfect, -1.0)
    trial = study.ask()
    for epoch, loss in enumerate(losses, 1):
        trial.report(loss, epoch)
        if trial.should_prune():
            return epoch
    return None


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("number", range(4))
def test_patience(number: int, patience: int, trained: Callable[..., Any]) -> None:
    losses = curve(number)
    expected = best_of(losses, 0, patience)
    stopping = {"monitor": "valid_loss", "patience": patience}
    rates = trained(losses, schedule={"kind": "constant"}, early_stopping=stopping)
    assert len(rates) == (expected or EPOCHS)
    schedule = {"kind": "performance", "patience": patience, "min_delta": 0.0}
    assert first_fall(trained(losses, schedule=schedule, early_stopping={"patience": None})) == expected
    assert pruned_at(Patient(patience=patience), losses) == expected
    assert pruned_at(Median(warmup_epochs=0, patience=patience), losses) == expected


@pytest.mark.parametrize("warmup_epochs", [1, 2, 5])
@pytest.mark.parametrize("patience", [1, 2])
@pytest.mark.parametrize("number", range(3))
def test_warmup(number: int, patience: int, warmup_epochs: int, trained: Callable[..., Any]) -> None:
    losses = curve(number)
    expected = best_of(losses, warmup_epochs, patience)
    schedule = {"kind": "performance", "patience": patience, "min_delta": 0.0, "warmup_epochs": float(warmup_epochs)}
    rates = trained(losses, schedule=schedule, early_stopping={"patience": None})
    assert first_fall(rates) == expected
    assert pruned_at(Median(warmup_epochs=warmup_epochs, patience=patience), losses) == expected


def first_fall(rates: Sequence[float]) -> int | None:
    """The epoch, from 1, at whose end the rate has fallen."""
    return next((epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]), None)


def test_the_first_decision_after_a_warmup_is_that_of_the_epoch_after_it(trained: Callable[..., Any]) -> None:
    flat = [1.0] * EPOCHS
    schedule = {"kind": "performance", "patience": 1, "warmup_epochs": 4.0}
    assert first_fall(trained(flat, schedule=schedule, early_stopping={"patience": None})) == 5
    assert pruned_at(Median(warmup_epochs=4), flat) == 5
    assert pruned_at(Median(warmup_epochs=4, patience=1), flat) == 5


def test_an_epoch_of_the_cooldown_counts_as_one_of_the_warmup(trained: Callable[..., Any]) -> None:
    """The rate falls after epoch 2; then 3 epochs do not count, and the next one lets it fall again."""
    schedule = {"kind": "performance", "patience": 1, "cooldown": 3, "factor": 0.5}
    rates = trained([1.0] * EPOCHS, schedule=schedule, early_stopping={"patience": None})
    assert rates[:8] == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
