"""A GPU whose memory does not suffice: the same trial in smaller parts, or a reason why not.

There is no GPU here: a hook raises what PyTorch raises there, above a number of images.
"""

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.model import Dropout
from pipeline.config.transfer import CustomAugmentation
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import VALUES_PER_CHUNK, ImageData
from pipeline.models.state import depends_on_batch
from pipeline.records.results import EpochResult
from pipeline.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from pipeline.training.evaluation import evaluate, predict, predict_by_monte_carlo
from pipeline.training.memory import GpuMemoryError, Microbatches, if_it_fits
from pipeline.training.start import Training, start

Configure = Callable[..., TrialConfig]
PLAIN = {"model": {"batch_norm": "none", "dropout": Dropout(rate=0.3)}, "epochs": 2}


class _Memory:
    """Lets a model fail where more images than a number pass it, and notes how many did.

    Args:
        model: The model.
        most: Images that fit.
        fails_in: forward, backward, or second: once, at the second part that would fit.
        in_evaluation: Whether that holds in evaluation too.
    """

    def __init__(self, model: nn.Module, most: int, fails_in: str = "forward", in_evaluation: bool = False) -> None:
        self.most, self.fails_in, self.in_evaluation = most, fails_in, in_evaluation
        self.tried: list[int] = []
        self.held: list[weakref.ref[Tensor]] = []
        self.left_over = 0  # tensors that a failed attempt still held at the next one
        model.register_forward_hook(self._passed)

    def _passed(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not module.training and not self.in_evaluation:
            return
        size = len(output)
        self.left_over += sum(tensor() is not None for tensor in self.held)
        self.held.clear()
        self.tried.append(size)
        is_too_much = size > self.most
        if self.fails_in == "second":
            is_too_much |= self.tried[:2] == [32, 16] and len(self.tried) == 3
        if is_too_much:
            self.held = [weakref.ref(tensor) for tensor in (inputs[0], output)]
        if is_too_much and self.fails_in == "backward" and output.requires_grad:
            output.register_hook(lambda gradient: self._fail())
        elif is_too_much:
            self._fail()

    def _fail(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def _run(
    config: TrialConfig, data: ImageData, *memory: Any, resume: Checkpoint | None = None
) -> tuple[Training, _Memory, list[EpochResult]]:
    """Trains with a memory of a size, or with enough; returns of the epochs what does not depend on time."""
    training = start(config, data, measure_every=3, resume=resume)
    limit = _Memory(training.model, *(memory or (1000,)))
    return training, limit, [replace(epoch, seconds=0.0, samples_per_second=0.0) for epoch in training.epochs]


def _assert_same_weights(one: Training, other: Training) -> None:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(("fails_in", "parts"), [("forward", 2), ("backward", 2), ("second", 4)])
def test_a_batch_that_does_not_fit_is_halved_for_good(
    fails_in: str, parts: int, small_data: ImageData, configure: Configure
) -> None:
    """To the bit and with dropout, it is the training that was split from the beginning."""
    halved, memory, results = _run(configure(**PLAIN), small_data, 16, fails_in)
    split, _, expected = _run(configure(**PLAIN, accumulation=parts), small_data)
    assert results == expected
    _assert_same_weights(halved, split)
    failed = [32] if parts == 2 else [32, 16, 16]
    assert memory.tried == failed + [32 // parts] * (16 * parts)  # 8 steps in each of 2 epochs
    assert (memory.left_over, halved.step.microbatches.size) == (0, 32 // parts)
    assert halved.step.flow is not None
    assert halved.step.flow.num_steps == 16


def test_the_trial_is_the_same(small_data: ImageData, configure: Configure) -> None:
    plain = {**PLAIN, "model": {"batch_norm": "none"}}
    _, memory, results = _run(configure(**plain), small_data, 5)
    assert set(memory.tried) == {32, 16, 8, 4}
    for result, expected in zip(results, _run(configure(**plain), small_data)[2], strict=True):
        assert result.train_loss == pytest.approx(expected.train_loss, rel=1e-3)
        assert result.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-2)
    _, memory, _ = _run(configure(**plain, augment=CustomAugmentation(flip=True, erase=0.5)), small_data, 16)
    assert memory.tried == [32] + [16] * 32


def test_a_resumed_training_goes_on_in_halves(small_data: ImageData, configure: Configure, tmp_path: Path) -> None:
    config, file = configure(**PLAIN), tmp_path / "trial.pt"
    training = start(config, small_data, measure_every=3)
    _Memory(training.model, 16)
    for epoch in training.epochs:
        if epoch.epoch == 1:
            save_checkpoint(file, Checkpoint(config.to_dict(), [epoch], training.state_dict()))
    resumed, memory, (last,) = _run(config, small_data, resume=load_checkpoint(file, config.to_dict()))
    assert memory.tried == [16] * 16
    assert last == replace(epoch, seconds=0.0, samples_per_second=0.0)
    _assert_same_weights(resumed, training)


@pytest.mark.parametrize(
    ("settings", "tried", "message"),
    [
        ({"model": {"batch_norm": "before"}}, [32], "a batch of 32 images does not .* batch norm.* accumulation: 2"),
        ({"augment": CustomAugmentation(mixup=0.2)}, [32], "a batch of 32 images does not .* mixup .* batch_size"),
        ({"model": {"batch_norm": "after"}, "accumulation": 2}, [16], "32 images, 16 at once, .* accumulation: 4"),
        ({}, [32, 16, 8, 4, 2, 1], "a batch of 32 images, 1 at once, .* smaller network"),
        ({"batch_size": 5}, [5, 3, 2, 1], "a batch of 5 images, 1 at once, .* smaller network"),
    ],
)
def test_what_cannot_be_split_says_why(
    settings: dict[str, Any], tried: list[int], message: str, small_data: ImageData, configure: Configure
) -> None:
    training = start(configure(**{**PLAIN, "model": {"batch_norm": "none"}, **settings}), small_data)
    memory = _Memory(training.model, 0)
    with pytest.raises(GpuMemoryError, match=message) as caught:
        next(training.epochs)
    assert (memory.tried, memory.left_over) == (tried, 0)
    assert caught.value.__context__ is None  # whose traceback would hold what the last attempt has allocated


def test_frozen_batch_normalization_may_be_split_and_what_learns_may_not(small_data: ImageData) -> None:
    body = {"kind": "backbone", "name": "mobilenetv3_small_050", "pretrained": False, "image_size": 32}
    transfer = {"kind": "unfreeze", "frozen_epochs": 1}
    plain = {"data": {"kind": "digits"}, "model": body, "transfer": transfer, "epochs": 2, "batch_size": 128}
    training = start(TrialConfig.model_validate(plain), small_data)
    memory = _Memory(training.model, 64)
    assert next(training.epochs).phase == "frozen"
    assert memory.tried == [128, *[64] * 4]
    with pytest.raises(GpuMemoryError, match="batch normalization"):
        next(training.epochs)
    assert memory.tried[5:] == [128]


@pytest.mark.parametrize(("size", "expected"), [(None, [7]), (7, [7]), (4, [4, 3]), (3, [3, 4]), (1, [1] * 7)])
def test_parts(size: int | None, expected: list[int]) -> None:
    parts = Microbatches(size).split(torch.arange(7))
    assert [len(part) for part in parts] == expected
    assert torch.cat(list(parts)).tolist() == list(range(7))


def test_generators_go_back_and_other_errors_come_through() -> None:
    def draw(error: Exception | None) -> Tensor:
        drawn = torch.rand(3)
        if error is not None:
            raise error
        return drawn

    device = torch.device("cpu")
    before = torch.get_rng_state()
    assert if_it_fits(device, draw, torch.OutOfMemoryError()) is None
    assert torch.equal(torch.get_rng_state(), before)
    assert if_it_fits(device, draw, None) is not None
    assert not torch.equal(torch.get_rng_state(), before)
    with pytest.raises(RuntimeError, match="shapes"):
        if_it_fits(device, draw, RuntimeError("shapes"))


def test_evaluation_halves_its_chunk(
    small_data: ImageData, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = start(configure(**PLAIN), small_data).model
    plain = evaluate(model, small_data.valid, nullcontext())
    memory = _Memory(model, 50, in_evaluation=True)
    valid = small_data.valid, nullcontext()
    found = evaluate(model, *valid), predict(model, *valid), predict_by_monte_carlo(model, *valid, samples=2, seed=1)
    assert memory.tried == [120, 60, *[30] * 4] * 2 + [120, 60, *[30] * 8]
    assert memory.left_over == 0
    monkeypatch.setitem(VALUES_PER_CHUNK, "cpu", 30 * 25)
    again = evaluate(model, *valid), predict(model, *valid), predict_by_monte_carlo(model, *valid, samples=2, seed=1)
    assert found[0] == again[0] == pytest.approx(plain, rel=1e-5)
    assert all(torch.equal(*pair) for pair in zip(found[1:], again[1:], strict=True))
    memory.most = 0
    with pytest.raises(GpuMemoryError, match="not even one image"):
        evaluate(model, *valid)
    assert memory.tried[-6:] == [30, 15, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("module", "in_training"),
    [
        (nn.BatchNorm2d(4), True),
        (nn.BatchNorm1d(4, track_running_stats=False), True),
        (nn.SyncBatchNorm(4), True),
        (nn.InstanceNorm2d(4), False),
        (nn.InstanceNorm2d(4, track_running_stats=True), True),
        (nn.GroupNorm(2, 4), False),
        (nn.LayerNorm(4), False),
        (nn.Dropout(), False),
    ],
)
def test_what_depends_on_the_batch(module: nn.Module, in_training: bool) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(module))
    assert depends_on_batch(network.train()) == in_training
    assert not depends_on_batch(network.eval())
