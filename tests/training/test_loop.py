"""The training loop: it learns, repeats itself to the bit, measures correctly, and says where it diverged."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import training as configs
from pipeline.config.data import FashionMnist
from pipeline.config.model import Dropout
from pipeline.config.schema import kinds_of
from pipeline.config.training import ClippingConfig, OptimizerConfig, ScheduleConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DeviceError
from pipeline.data.batches import batches_per_epoch
from pipeline.data.image_data import VALUES_PER_CHUNK, ImageData, LabeledImages
from pipeline.data.loading import load_data, load_test
from pipeline.training.evaluation import evaluate
from pipeline.training.loop import DivergedError
from pipeline.training.start import start

Configure = Callable[..., TrialConfig]

BLOCKS = [
    *(("optimizer", kind) for kind in kinds_of(OptimizerConfig).values()),
    *(("schedule", kind) for kind in kinds_of(ScheduleConfig).values()),
    *(("clip", kind) for kind in kinds_of(ClippingConfig).values()),
]


def _as_floats(part: LabeledImages) -> LabeledImages:
    """The same images, standardized beforehand, so that one of them can hold infinity."""
    images, _ = part.slice(0, len(part))
    shape = (1, images.shape[1], 1, 1)
    return LabeledImages(images, part.labels, torch.zeros(shape), torch.ones(shape))


def _poisoned(part: LabeledImages, row: int) -> LabeledImages:
    poisoned = _as_floats(part)
    poisoned.images[row] = torch.inf
    return poisoned


def _first(data: ImageData, num_images: int) -> ImageData:
    train = replace(data.train, images=data.train.images[:num_images], labels=data.train.labels[:num_images])
    return replace(data, train=train)


def _orders(seed: int, num_images: int) -> Iterator[list[int]]:
    """The order of the images in each epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randperm(num_images, generator=generator).tolist()


def test_it_learns(small_data: ImageData, configure: Configure) -> None:
    training = start(configure(epochs=10), small_data)
    results = list(training.epochs)
    assert [result.epoch for result in results] == list(range(1, 11))
    assert results[0].valid_accuracy < 0.9 < results[-1].valid_accuracy
    assert results[-1].train_loss < 0.5 * results[0].train_loss
    best = max(results, key=lambda result: result.valid_accuracy)
    assert training.evaluate(small_data.valid) == (best.valid_loss, best.valid_accuracy)
    assert all(result.seconds > 0.0 for result in results)
    assert results[0].samples_per_second * results[0].seconds == pytest.approx(256)


@pytest.mark.parametrize(("block", "kind"), BLOCKS)
def test_every_kind_learns(block: str, kind: type, small_data: ImageData, configure: Configure) -> None:
    config = configure(epochs=6, **{block: kind(lr=0.02) if block == "optimizer" else kind()})
    *_, last = start(config, small_data).epochs
    assert last.train_accuracy > 0.75


def _numbers(config: TrialConfig, data: ImageData) -> tuple[list[dict[str, Any]], list[Tensor]]:
    training = start(config, data)
    results = [asdict(replace(result, seconds=0.0, samples_per_second=0.0)) for result in training.epochs]
    return results, list(training.model.state_dict().values())


def test_the_same_seed_gives_the_same_numbers(small_data: ImageData, configure: Configure) -> None:
    settings = {"model": {"batch_norm": "before", "dropout": Dropout(rate=0.3, input_rate=0.1)}, "epochs": 3}
    results, state = _numbers(configure(**settings, seed=3), small_data)
    torch.rand(5)
    again, state_again = _numbers(configure(**settings, seed=3), small_data)
    other, _ = _numbers(configure(**settings, seed=4), small_data)
    assert results == again
    assert all(torch.equal(*pair) for pair in zip(state, state_again, strict=True))
    assert all(one["train_loss"] != two["train_loss"] for one, two in zip(results, other, strict=True))


@pytest.mark.parametrize(
    ("num_images", "batch_size", "expected"),
    [(64, 32, 2), (65, 32, 2), (66, 32, 3), (20, 32, 1), (1, 32, 1), (5, 1, 5), (1, 1, 1)],
)
def test_batches_per_epoch(num_images: int, batch_size: int, expected: int) -> None:
    assert batches_per_epoch(num_images, batch_size) == expected


@pytest.mark.parametrize(("num_images", "used"), [(64, 64), (65, 64), (66, 66)])
def test_a_single_leftover_image_is_left_out(
    num_images: int, used: int, small_data: ImageData, configure: Configure
) -> None:
    data = _first(small_data, num_images)
    (result,) = start(configure(epochs=1, model={"batch_norm": "before"}), data).epochs
    hits = result.train_accuracy * used
    assert hits == pytest.approx(round(hits))
    assert result.samples_per_second * result.seconds == pytest.approx(used)


@pytest.mark.parametrize("row", [0, 100, 255])
def test_divergence_names_epoch_and_step(row: int, small_data: ImageData, configure: Configure) -> None:
    data = _first(small_data, 256)
    poisoned = replace(data, train=_poisoned(data.train, row))
    step = next(_orders(5, 256)).index(row) // 32 + 1
    with pytest.raises(DivergedError, match=f"training loss at step {step} is not finite, in epoch 1") as caught:
        list(start(configure(seed=5), poisoned).epochs)
    assert (caught.value.epoch, caught.value.step) == (1, step)


def test_divergence_in_a_later_epoch_gives_back_the_best(small_data: ImageData, configure: Configure) -> None:
    """The poisoned image is the one that the first epoch leaves out."""
    first, second = itertools.islice(_orders(5, 257), 2)
    row = first[-1]
    training = start(configure(seed=5), replace(small_data, train=_poisoned(small_data.train, row)))
    next(training.epochs)
    weights = [tensor.clone() for tensor in training.model.state_dict().values()]
    with pytest.raises(DivergedError) as caught:
        next(training.epochs)
    assert (caught.value.epoch, caught.value.step) == (2, 8 + second.index(row) // 32 + 1)
    assert all(torch.equal(*pair) for pair in zip(weights, training.model.state_dict().values(), strict=True))


def test_divergence_through_a_huge_rate(small_data: ImageData, configure: Configure) -> None:
    """The first step's loss is still that of the first weights; the second one's overflows."""
    config = configure(optimizer=configs.Sgd(lr=1e30), schedule=configs.Constant(), model={"batch_norm": "none"})
    with pytest.raises(DivergedError) as caught:
        list(start(config, small_data).epochs)
    assert (caught.value.epoch, caught.value.step) == (1, 2)


def test_divergence_in_validation(small_data: ImageData, configure: Configure) -> None:
    poisoned = replace(small_data, valid=_poisoned(small_data.valid, 7))
    with pytest.raises(DivergedError, match="the validation loss is not finite, in epoch 1") as caught:
        list(start(configure(), poisoned).epochs)
    assert (caught.value.epoch, caught.value.step) == (1, None)


def test_training_measures_agree_with_a_computation_by_hand(
    small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    data = _first(small_data, 96)
    training = start(configure(**standstill, epochs=1), data)
    losses, norms, hits = [], [], 0
    for rows in torch.tensor(next(_orders(0, 96))).split(32):
        images, labels = data.train.batch(rows)
        logits = training.model(images)
        loss = functional.cross_entropy(logits, labels)
        gradient = torch.autograd.grad(loss, list(training.model.parameters()))
        norms.append(nn.utils.parameters_to_vector(gradient).norm().item())
        losses.append(loss.item())
        hits += int((logits.argmax(1) == labels).sum())
    (result,) = training.epochs
    assert result.train_accuracy == hits / 96
    assert result.train_loss == pytest.approx(sum(losses) / 3)
    assert result.gradient_norm == pytest.approx(sum(norms) / 3, rel=1e-5)


@pytest.mark.parametrize(("num_images", "accumulation"), [(66, 1), (95, 1), (97, 1), (95, 4)])
def test_a_smaller_last_batch_weighs_less(
    num_images: int, accumulation: int, small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    data = _first(small_data, num_images)
    training = start(configure(**standstill, epochs=1, accumulation=accumulation), data)
    used = num_images - (num_images % 32 == 1)  # a single image is left out
    images, labels = data.train.batch(torch.tensor(next(_orders(0, num_images)))[:used])
    expected = functional.cross_entropy(training.model(images), labels).item()
    (result,) = training.epochs
    assert result.train_loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("images_per_chunk", [1, 7, 120, 1000])
def test_evaluation_does_not_depend_on_its_chunks(
    images_per_chunk: int, small_data: ImageData, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VALUES_PER_CHUNK, "cpu", images_per_chunk * 25)
    model = start(configure(model={"dropout": Dropout(rate=0.5)}), small_data).model
    loss, accuracy = evaluate(model.train(), small_data.valid, nullcontext())
    images, labels = small_data.valid.slice(0, 120)
    logits = model.eval()(images)
    assert loss == pytest.approx(functional.cross_entropy(logits, labels).item())
    assert accuracy == int((logits.argmax(1) == labels).sum()) / 120


def test_evaluation_leaves_the_images_and_the_model_as_they_are(small_data: ImageData, configure: Configure) -> None:
    valid = replace(_as_floats(small_data.valid), mean=torch.full((1, 1, 1, 1), 3.0))
    images = valid.images.clone()
    training = start(configure(), small_data)
    state = [tensor.clone() for tensor in training.model.state_dict().values()]
    assert training.evaluate(valid) == training.evaluate(valid)
    assert torch.equal(valid.images, images)
    assert all(torch.equal(*pair) for pair in zip(state, training.model.state_dict().values(), strict=True))


def test_the_rate_reported_is_that_of_the_last_step(small_data: ImageData, configure: Configure) -> None:
    config = configure(optimizer=configs.Sgd(lr=0.2), schedule=configs.Exponential(step_epochs=1.0), epochs=3)
    results = list(start(config, small_data).epochs)
    assert [result.lr for result in results] == pytest.approx([0.2 * 0.1 ** (step / 8) for step in (7, 15, 23)])


def test_a_schedule_sees_the_validation_measures(
    small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    settings = {**standstill, "optimizer": configs.Sgd(lr=1e-20)}
    results = start(configure(**settings, schedule=configs.Performance(patience=1), epochs=4), small_data).epochs
    assert [result.lr for result in results] == pytest.approx([1e-20, 1e-20, 0.5e-20, 0.25e-20], abs=0.0)


def test_bfloat16_stays_inside_the_loop(small_data: ImageData, configure: Configure) -> None:
    exact = list(start(configure(epochs=4), small_data).epochs)
    training = start(configure(epochs=4, precision="bfloat16"), small_data)
    for result, expected in zip(training.epochs, exact, strict=True):
        assert not torch.is_autocast_enabled("cpu")
        assert result.train_loss != expected.train_loss
        assert result.train_loss == pytest.approx(expected.train_loss, rel=0.05)
    assert {parameter.dtype for parameter in training.model.parameters()} == {torch.float32}
    assert training.evaluate(small_data.valid)[1] > 0.8


def test_tf32_is_refused_before_anything_is_built(small_data: ImageData, configure: Configure) -> None:
    with pytest.raises(DeviceError, match="tf32"):
        start(configure(precision="tf32"), small_data)


def test_defaults_on_a_tenth_of_fashion_mnist(fashion_mnist: Path) -> None:
    config = TrialConfig(data=FashionMnist(max_train_images=6000), epochs=3)
    data = load_data(config.data, data_dir=str(fashion_mnist))
    training = start(config, data)
    results = list(training.epochs)
    test = load_test(config.data, data, data_dir=str(fashion_mnist))
    assert test is not None
    loss, accuracy = training.evaluate(test)
    assert len(test) == 10_000
    assert accuracy > 0.80
    assert loss < 0.6
    assert abs(accuracy - max(result.valid_accuracy for result in results)) < 0.03
