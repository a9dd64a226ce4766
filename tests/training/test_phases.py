"""The phases of a backbone's training: what learns in each, at which rate, and what carries over."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from pipeline.config import training as configs
from pipeline.config.schema import kinds_of
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.optim.schedules import build_schedule
from pipeline.records.results import EpochResult
from pipeline.training import loop, phases
from pipeline.training.evaluation import evaluate
from pipeline.training.phases import Phase
from pipeline.training.start import start

NAME = "mobilenetv3_small_050"
SCHEDULES = tuple(kinds_of(configs.ScheduleConfig).values())
UNFREEZE = {"kind": "unfreeze", "frozen_epochs": 2, "unfreeze_top_stages": 2}
Configure = Callable[..., TrialConfig]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "body.pt"
    torch.save(timm.create_model(NAME, num_classes=0).state_dict(), file)
    return file


@pytest.fixture
def configure(weights: Path) -> Configure:
    def configure(transfer: dict[str, Any], *, model: dict[str, Any] | None = None, **settings: Any) -> TrialConfig:
        body = {"kind": "backbone", "name": NAME, "pretrained": str(weights), "image_size": 32, **(model or {})}
        usual = {"optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.0}, "epochs": 4, "batch_size": 16}
        plain = {"data": {"kind": "digits"}, "model": body, "transfer": transfer, **usual, **settings}
        return TrialConfig.model_validate(plain)

    return configure


@pytest.fixture
def data(small_data: ImageData) -> ImageData:
    """48 images to train on, 16 to validate."""
    parts = [
        replace(part, images=part.images[:size], labels=part.labels[:size])
        for part, size in ((small_data.train, 48), (small_data.valid, 16))
    ]
    return replace(small_data, train=parts[0], valid=parts[1])


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Phase]:
    """The phases that have begun."""
    begun: list[Phase] = []

    def note(*arguments: Any, **settings: Any) -> Phase:
        begun.append(Phase(*arguments, **settings))
        return begun[-1]

    monkeypatch.setattr(phases, "Phase", note)
    return begun


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _same(state: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name in state if torch.equal(state[name], other[name])}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_each_phase_begins_its_schedule_anew(
    kind: type[configs.ScheduleBlock], configure: Configure, data: ImageData, built: list[Phase]
) -> None:
    transfer = {**UNFREEZE, "lr_factor": 0.5, "layer_decay": 0.2}
    schedule = kind.model_validate({"warmup_epochs": 0.5})
    training = start(configure(transfer, schedule=schedule.model_dump()), data)
    rates: list[list[float]] = []
    lr_of_epoch = []
    for result in training.epochs:
        rates.append([group["lr"] for group in built[-1].step.optimizer.param_groups])
        lr_of_epoch.append(result.lr)
    assert [phase.name for phase in built] == ["frozen", "unfreeze 2"]
    assert lr_of_epoch == [rate[0] for rate in rates]
    # Weights and biases of the head; then those of the top stage, and of the one below it.
    factors = [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]
    for phase, ends, groups in zip(built, (rates[:2], rates[2:]), (2, 6), strict=True):
        assert len(phase.step.optimizer.param_groups) == groups
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
        alone = build_schedule(schedule, optimizer, steps_per_epoch=3, epochs=2)
        first = phase.schedule.set_rates(0)
        if kind is not configs.Performance:  # whose rate depends on what has been measured
            assert first == alone.set_rates(0)
            last = [alone.set_rates(2), alone.set_rates(5)]
            assert [end[0] for end in ends] == last
        for end in ends:
            assert end == pytest.approx([end[0] * factor for factor in factors[:groups]])


def test_the_performance_schedule_forgets_what_it_saw(configure: Configure, data: ImageData) -> None:
    stopping = {"patience": 9}
    schedule = {"kind": "performance", "patience": 1, "min_delta": 100.0, "factor": 0.5}
    config = configure({**UNFREEZE, "frozen_epochs": 3}, epochs=6, schedule=schedule, early_stopping=stopping)
    rates = [result.lr for result in start(config, data).epochs]
    assert rates == pytest.approx([0.01, 0.01, 0.005] * 2)


def _phases(results: list[EpochResult]) -> list[str]:
    return [result.phase for result in results]


@pytest.mark.parametrize(
    ("transfer", "expected"),
    [
        ({"kind": "frozen"}, ["frozen"] * 4),
        (UNFREEZE, ["frozen"] * 2 + ["unfreeze 2"] * 2),
        ({**UNFREEZE, "frozen_epochs": 0}, ["unfreeze 2"] * 4),
        ({**UNFREEZE, "frozen_epochs": 1, "unfreeze_top_stages": "all"}, ["frozen"] + ["unfreeze all"] * 3),
        ({"kind": "none"}, ["all"] * 4),
    ],
)
def test_the_epochs_of_each_phase(
    transfer: dict[str, Any], expected: list[str], configure: Configure, data: ImageData
) -> None:
    results = list(start(configure(transfer), data).epochs)
    assert _phases(results) == expected
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert {(result.backbone_images, result.cached_images) for result in results} == {(64, 0)}


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("kind", ["none", "unfreeze"])
def test_where_everything_is_unfrozen_everything_learns(
    kind: str, pretrained: bool, configure: Configure, data: ImageData
) -> None:
    """Also after a training in the same process in which the same body was frozen."""
    model = {} if pretrained else {"pretrained": False}
    list(start(configure({"kind": "frozen"}, model=model, epochs=1), data).epochs)
    unfreeze = {"kind": "unfreeze", "frozen_epochs": 0, "unfreeze_top_stages": "all"}
    transfer = unfreeze if kind == "unfreeze" else {"kind": "none"}
    training = start(configure(transfer, model=model, optimizer={"kind": "adamw"}, epochs=1), data)
    before = _state(training.model)
    list(training.epochs)
    assert not _same(before, _state(training.model))
    rates = {group["lr"] for group in training.step.optimizer.param_groups}
    assert len(rates) == (2 if kind == "unfreeze" else 1)


def test_patience_ends_a_phase_and_not_the_training(configure: Configure, data: ImageData) -> None:
    standstill = {"kind": "sgd", "lr": 1e-30, "momentum": 0.0}
    config = configure(
        {**UNFREEZE, "frozen_epochs": 6},
        optimizer=standstill,
        epochs=9,
        early_stopping={"monitor": "valid_loss", "patience": 2, "min_delta": 1e-2},
    )
    results = list(start(config, data).epochs)
    # In the first the best one, and two without improvement; then two, as all the patience is there again.
    assert _phases(results)[:5] == ["frozen"] * 3 + ["unfreeze 2"] * 2
    assert [result.is_best for result in results[:3]] == [True, False, False]


@pytest.mark.parametrize("ema_decay", [None, 0.5])
@pytest.mark.parametrize("stages", [1, "all"])
def test_the_best_epoch_carries_over_and_comes_back_whole(
    stages: Any, ema_decay: float | None, configure: Configure, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    best: dict[str, Tensor] = {}
    calls: list[float] = []

    def evaluate_worse_and_worse(model: nn.Module, *arguments: Any) -> tuple[float, float]:
        if not calls:
            best.update(_state(model))
        calls.append(evaluate(model, *arguments)[0])
        return calls[-1] + 100.0 * len(calls), 0.5

    monkeypatch.setattr(loop, "evaluate", evaluate_worse_and_worse)
    stopping = {"monitor": "valid_loss", "patience": None}
    transfer = {**UNFREEZE, "unfreeze_top_stages": stages, "lr_factor": 1.0}
    config = configure(transfer, schedule={"kind": "constant"}, early_stopping=stopping, ema_decay=ema_decay)
    training = start(config, data)
    worse: dict[str, Tensor] = {}
    for result in training.epochs:
        assert result.is_best == (result.epoch == 1)
        if result.epoch == 3:  # the phase has begun with the best weights, not with those of epoch 2
            worse = _state(training.model)
    changed = set(worse) - _same(best, worse)
    assert {name for name in worse if name.startswith("head.")} <= changed
    assert "body.blocks.4.0.bn1.running_mean" in changed
    assert ("body.conv_stem.weight" in changed) == (stages == "all")
    assert _same(best, _state(training.model)) == set(best)
    assert training.evaluate(data.valid)[0] == calls[0]


def test_a_phase_begins_with_the_best_weights(
    configure: Configure, data: ImageData, built: list[Phase], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([3.0, 1.0, 2.0, 9.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_: (next(values), 0.5))
    config = configure({**UNFREEZE, "frozen_epochs": 3}, early_stopping={"monitor": "valid_loss"})
    training = start(config, data)
    heads = [_state(training.model.get_submodule("head")) for _ in training.epochs]
    entered: list[dict[str, Tensor]] = []
    values = iter([3.0, 1.0, 2.0, 9.0])
    training = start(config, data)
    for result in training.epochs:
        if result.epoch == 3:
            network = built[-1].network.head
            network.register_forward_pre_hook(lambda module, inputs: entered.append(_state(module)))
    assert _same(entered[0], heads[1]) == set(heads[1])
    assert _same(entered[0], heads[2]) != set(heads[2])
