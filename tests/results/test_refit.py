from typing import Any

import pytest

from pipeline.config import TrialConfig
from pipeline.data import load_data
from pipeline.errors import DnntuneError
from pipeline.results.refit import check_refit, with_rates
from pipeline.training import start


def config(**settings: Any) -> TrialConfig:
    fields = {"data": {"name": "digits", "max_train_images": 200}, "epochs": 8, **settings}
    return TrialConfig.model_validate(fields)


@pytest.mark.parametrize("warmup", [0.0, 1.5])
def test_a_performance_schedules_rates_are_gone_through_again(warmup: float) -> None:
    schedule = {"kind": "performance", "patience": 1, "min_delta": 0.5, "warmup_epochs": warmup}
    watched = config(schedule=schedule, early_stopping={"patience": None})
    data = load_data(watched.data)
    epochs = list(start(watched, data).epochs)
    assert len({epoch.lr for epoch in epochs}) > 2  # the rate has fallen
    again = with_rates(watched, [epoch.lr for epoch in epochs])
    assert again.schedule.kind == "piecewise"
    replayed = list(start(again, data).epochs)
    assert [epoch.lr for epoch in replayed] == pytest.approx([epoch.lr for epoch in epochs])
    assert replayed[-1].train_loss == pytest.approx(epochs[-1].train_loss, rel=1e-4)


def test_a_rate_that_never_fell_is_constant() -> None:
    watched = config(schedule={"kind": "performance"})
    assert with_rates(watched, [watched.optimizer.lr] * 5).schedule.kind == "constant"


def test_the_last_epochs_weights_come_back() -> None:
    settings = config(
        optimizer={"kind": "sgd", "lr": 1.0}, schedule={"kind": "constant"}, early_stopping={"patience": 1}
    )
    data = load_data(settings.data)
    training = start(settings, data.together(), keeps_last=True)
    epochs = list(training.epochs)
    assert len(epochs) == 8
    assert all(epoch.is_best for epoch in epochs)
    assert training.evaluate(data.valid) == (epochs[-1].valid_loss, epochs[-1].valid_accuracy)


def test_all_images_are_learned_from() -> None:
    data = load_data(config().data)
    together = data.together()
    assert len(together.train) == len(data.train) + len(data.valid)
    assert together.fingerprint == data.fingerprint  # the feature cache knows them
    assert together.train.rows is not None
    assert sorted(together.train.rows.tolist()) == list(range(len(together.train)))


def test_what_goes_by_validation_images_cannot_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = {"kind": "backbone", "name": "resnet10t", "pretrained": False}
    with pytest.raises(DnntuneError, match="transfer: auto climbs by them"):
        check_refit(config(model=backbone, transfer={"kind": "auto"}))
    with pytest.raises(DnntuneError, match="in each phase"):
        check_refit(config(model=backbone, transfer={"kind": "unfreeze"}, schedule={"kind": "performance"}))
    check_refit(config(schedule={"kind": "performance"}))
