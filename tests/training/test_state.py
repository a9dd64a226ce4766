"""Where a training is: one that is resumed after any of its epochs has the numbers that it would have had."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import training as configs
from pipeline.config.data import Arrays, Digits, Sampling
from pipeline.config.loss import CrossEntropy, Focal
from pipeline.config.model import Dropout
from pipeline.config.schema import kinds_of
from pipeline.config.training import EarlyStopping
from pipeline.config.transfer import CustomAugmentation
from pipeline.config.trial import TrialConfig
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.optim.optimizers import OPTIMIZERS
from pipeline.records.results import EpochResult
from pipeline.training import loop
from pipeline.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from pipeline.training.evaluation import evaluate
from pipeline.training.start import start

Configure = Callable[..., TrialConfig]
OPTIMIZER_KINDS = kinds_of(configs.OptimizerConfig)
SCHEDULES = tuple(kinds_of(configs.ScheduleConfig).values())
FALLS_EACH_EPOCH = {"patience": 1, "min_delta": 100.0, "cooldown": 1}


def _timeless(result: EpochResult) -> EpochResult:
    return replace(result, seconds=0.0, samples_per_second=0.0)


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def _assert_it_resumes(
    config: TrialConfig,
    data: ImageData,
    folder: Path,
    *,
    begin: Callable[[int], object] = lambda epochs_done: None,
    **settings: Any,
) -> list[Checkpoint]:
    """Resumes a training after each of its epochs; returns what it was resumed from."""
    begin(0)
    training = start(config, data, **settings)
    results: list[EpochResult] = []
    models: list[dict[str, Tensor]] = []
    is_over = []
    for result in training.epochs:
        results.append(result)
        is_over.append(training.is_over)
        models.append(_copy(training.model.state_dict()))
        save_checkpoint(folder / f"{result.epoch}.pt", Checkpoint(config.to_dict(), results, training.state_dict()))
    assert is_over == [False] * (len(results) - 1) + [True]
    checkpoints = []
    for epoch, model in enumerate(models, 1):
        loaded = load_checkpoint(folder / f"{epoch}.pt", config.to_dict())
        assert loaded is not None
        assert loaded.epochs == results[:epoch]
        begin(epoch)
        torch.rand(7)
        resumed = start(config, data, resume=loaded, **settings)
        assert _same(resumed.state_dict(), loaded.state)
        assert _same(resumed.model.state_dict(), model)
        assert resumed.is_over == is_over[epoch - 1]
        assert list(map(_timeless, resumed.epochs)) == list(map(_timeless, results[epoch:]))
        assert _same(resumed.model.state_dict(), training.model.state_dict())
        checkpoints.append(loaded)
    return checkpoints


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer(kind: str, small_data: ImageData, configure: Configure, tmp_path: Path) -> None:
    momentum = {"momentum": 0.5} if kind == "rmsprop" else {}
    optimizer = OPTIMIZER_KINDS[kind].model_validate({"lr": 0.01, "weight_decay": 0.1, **momentum})
    _assert_it_resumes(configure(optimizer=optimizer, epochs=3), small_data, tmp_path)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule(
    kind: type[configs.ScheduleBlock], small_data: ImageData, configure: Configure, tmp_path: Path
) -> None:
    schedule = kind.model_validate({"warmup_epochs": 0.5, **(FALLS_EACH_EPOCH if kind is configs.Performance else {})})
    checkpoints = _assert_it_resumes(configure(schedule=schedule, epochs=6), small_data, tmp_path)
    rates = {round(epoch.lr, 9) for epoch in checkpoints[-1].epochs}
    # 1cycle comes by some rates on its way up and down
    expected = {configs.Constant: 1, configs.Piecewise: 1, configs.Performance: 3, configs.OneCycle: 4}
    assert len(rates) == expected.get(kind, 6)


@pytest.mark.parametrize(
    "settings",
    [
        {"ema_decay": 0.9},
        {"model": {"batch_norm": "before", "input_batch_norm": True, "dropout": Dropout(rate=0.3)}},
        {"model": {"activation": "selu", "batch_norm": "none", "dropout": Dropout(rate=0.3, input_rate=0.1)}},
        {"augment": CustomAugmentation(crop_padding=0.2, flip=True, erase=0.3, mixup=0.2, cutmix=1.0)},
        {"max_norm": 0.7, "clip": configs.ClipNorm(threshold=0.5), "loss": CrossEntropy(label_smoothing=0.1)},
        {"accumulation": 3, "precision": "bfloat16", "model": {"batch_norm": "none"}},
        {"data": Digits(sampling="balanced"), "loss": Focal(class_weights=(1.0, 2.0, 3.0, 4.0))},
    ],
    ids=["ema", "batch norm", "alpha dropout", "augmentation", "max-norm", "accumulation", "balanced"],
)
def test_what_else_has_a_state(
    settings: dict[str, Any], small_data: ImageData, configure: Configure, tmp_path: Path
) -> None:
    _assert_it_resumes(configure(**settings, epochs=3, seed=5), small_data, tmp_path)


def test_gradient_flow_is_measured_at_the_steps_where_it_would_have_been(
    small_data: ImageData, configure: Configure, tmp_path: Path
) -> None:
    config = configure(epochs=5, batch_size=86)
    last = _assert_it_resumes(config, small_data, tmp_path, measure_every=4)[-1]
    assert [len(epoch.gradient_flow) for epoch in last.epochs] == [3, 3, 3, 0, 3]  # steps 1, 5, 9 and 13 of 3 an epoch


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_patience_goes_on(
    ema_decay: float | None, mixed_up_data: ImageData, configure: Configure, tmp_path: Path
) -> None:
    stopping = EarlyStopping(monitor="valid_loss", patience=3)
    config = configure(epochs=20, early_stopping=stopping, schedule=configs.Constant(), ema_decay=ema_decay)
    last = _assert_it_resumes(config, mixed_up_data, tmp_path)[-1]
    assert 4 <= len(last.epochs) < 20
    assert [epoch.is_best for epoch in last.epochs[-4:]] == [True, False, False, False]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_checkpoint_is_not_used_up(
    optimizer: str, small_data: ImageData, configure: Configure, tmp_path: Path
) -> None:
    config = configure(epochs=2, optimizer=OPTIMIZER_KINDS[optimizer](), ema_decay=0.9)
    first, _ = _assert_it_resumes(config, small_data, tmp_path)
    again = load_checkpoint(tmp_path / "1.pt", config.to_dict())
    assert again is not None
    assert _same(first.state, again.state)  # after a training has gone on from it


def _backbone(transfer: dict[str, Any], **settings: Any) -> TrialConfig:
    body = {"kind": "backbone", "name": "mobilenetv3_small_050", "pretrained": False, "image_size": 32}
    usual = {"epochs": 4, "batch_size": 16, "optimizer": {"kind": "adamw", "lr": 0.01}}
    return TrialConfig.model_validate(
        {"data": {"kind": "digits"}, "model": body, "transfer": transfer, **usual, **settings}
    )


@pytest.fixture
def few(tmp_path: Path) -> ImageData:
    """48 images of four classes, 32 of them to train on."""
    labels, generator = np.arange(48) % 4, np.random.default_rng(0)
    pixels = generator.integers(0, 256, (48, 6, 6)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", x_train=pixels, y_train=labels)
    return load_data(Arrays(path=str(tmp_path / "images.npz"), valid_fraction=1 / 3))


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
@pytest.mark.parametrize("is_cached", [False, True])
def test_phases(is_cached: bool, sampling: Sampling, few: ImageData, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache", lambda text: None) if is_cached else None
    data = {"kind": "digits", "sampling": sampling}
    config = _backbone({"kind": "unfreeze", "frozen_epochs": 2}, early_stopping={"patience": None}, data=data)
    list(start(config, few, cache=cache).epochs)  # fills the cache: then no epoch has images that are computed for it
    checkpoints = _assert_it_resumes(config, few, tmp_path, cache=cache, measure_every=3)
    last = checkpoints[-1].epochs
    assert [epoch.phase for epoch in last] == ["frozen"] * 2 + ["unfreeze 1"] * 2
    assert [epoch.cached_images for epoch in last] == [48 * is_cached] * 4
    names = [{name.split(".")[0] for name in saved.state["best"]["present"]} for saved in checkpoints]
    assert names == [{"head"}] * 2 + [{"head", "body"}] * 2
    sizes = [(tmp_path / f"{epoch}.pt").stat().st_size for epoch in range(1, 5)]
    assert max(sizes[:2]) < 100_000 < min(sizes[2:])  # what stays frozen takes 2 MB


def test_a_ladder_on_its_third_network_of_which_the_second_was_best(
    few: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation is told, as chance would decide it; the bodies are random, each drawn when its network is built."""
    sent = [5.0, 6.0, 4.0, 6.0, 7.0, 7.0]
    left: Iterator[float] = iter(())

    def evaluate_as_told(*arguments: Any) -> tuple[float, float]:
        return next(left), evaluate(*arguments)[1]

    def begin(epochs_done: int) -> None:
        nonlocal left
        left = iter(sent[epochs_done:])

    monkeypatch.setattr(loop, "evaluate", evaluate_as_told)
    ladder = {"kind": "auto", "phase_epochs": 1, "little_data": 1}
    flips = {"kind": "custom", "flip": True}  # draws between one network and the next
    config = _backbone(ladder, augment=flips, epochs=20, early_stopping={"monitor": "valid_loss"})
    checkpoints = _assert_it_resumes(config, few, tmp_path, begin=begin)
    assert [epoch.phase for epoch in checkpoints[-1].epochs] == [
        f"{words}{what}" for words in ("", "head of 1, ", "head of 2, ") for what in ("frozen", "unfreeze 1")
    ]
    assert [saved.state["phase_of_best"] for saved in checkpoints] == [0, 0, 2, 2, 2, 2]
