"""The optimizer's step: clipping as it is reported and as it acts, and max-norm."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import training as configs
from pipeline.config.loss import CrossEntropy, Focal
from pipeline.config.training import ClippingConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.training.start import Training, start

Configure = Callable[..., TrialConfig]


@pytest.mark.parametrize(
    ("clip", "share"),
    [
        (configs.NoClipping(), 0.0),
        (configs.ClipNorm(threshold=1e6), 0.0),
        (configs.ClipNorm(threshold=1e-6), 1.0),
        (configs.ClipValue(threshold=1e-6), 1.0),
        (configs.ClipTensorNorm(threshold=1e-6), 1.0),
    ],
)
def test_clipping_is_reported(
    clip: ClippingConfig, share: float, small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    (result,) = start(configure(**standstill, epochs=1, clip=clip), small_data).epochs
    (free,) = start(configure(**standstill, epochs=1), small_data).epochs
    assert result.clipped == share
    assert result.gradient_norm == pytest.approx(free.gradient_norm, rel=1e-5)
    assert free.gradient_norm > 0.1


def test_the_share_of_clipped_steps_counts_steps(
    small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    (free,) = start(configure(**standstill, epochs=1), small_data).epochs
    clip = configs.ClipNorm(threshold=free.gradient_norm)
    (result,) = start(configure(**standstill, epochs=1, clip=clip), small_data).epochs
    assert 0.0 < result.clipped < 1.0
    assert result.clipped * 8 == round(result.clipped * 8)


def test_the_step_is_made_with_the_clipped_gradient(small_data: ImageData, configure: Configure) -> None:
    config = configure(
        optimizer=configs.Sgd(lr=1.0, momentum=0.0),
        schedule=configs.Constant(),
        clip=configs.ClipNorm(threshold=0.01),
        batch_size=len(small_data.train),
        epochs=1,
    )
    training = start(config, small_data)
    before = nn.utils.parameters_to_vector(training.model.parameters()).detach().clone()
    list(training.epochs)
    moved = nn.utils.parameters_to_vector(training.model.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_max_norm_bounds_every_unit(small_data: ImageData, configure: Configure) -> None:
    def longest(**settings: float) -> list[float]:
        training = start(configure(epochs=2, **settings), small_data)
        assert len(list(training.epochs)) == 2
        linears = [layer for layer in training.model.modules() if isinstance(layer, nn.Linear)]
        return [linear.weight.norm(dim=1).max().item() for linear in linears]

    assert min(longest()) > 0.8
    assert max(longest(max_norm=0.8)) == pytest.approx(0.8, rel=1e-4)


def _gradient(training: Training, rows: Tensor) -> Tensor:
    training.model.train()
    training.step(rows)
    return training.step.parameters.gradient.clone()


def test_label_smoothing_is_pytorchs(small_data: ImageData, configure: Configure, standstill: dict[str, Any]) -> None:
    training = start(configure(**standstill, loss=CrossEntropy(label_smoothing=0.3)), small_data)
    rows = torch.arange(40)
    loss = training.step(rows).loss
    images, labels = small_data.train.batch(rows)
    with torch.no_grad():
        logits = training.model.train()(images)
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.3)
    torch.testing.assert_close(loss, expected)
    log_probabilities = logits.log_softmax(1)  # by hand: 0.3 of each label is spread over the four classes
    by_hand = -(0.7 * log_probabilities.gather(1, labels[:, None]).squeeze(1) + 0.3 * log_probabilities.mean(1)).mean()
    torch.testing.assert_close(loss, by_hand)
    _, accuracy = training.evaluate(small_data.valid)
    plain = start(configure(**standstill), small_data)
    assert training.evaluate(small_data.valid) == plain.evaluate(small_data.valid)  # measures know no smoothing
    assert 0.0 <= accuracy <= 1.0


@pytest.mark.parametrize(("batch", "sizes"), [(32, [8] * 4), (30, [8, 8, 8, 6]), (25, [8, 8, 9]), (9, [9]), (8, [8])])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    batch: int, sizes: list[int], small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    whole, parts = (start(configure(**standstill, accumulation=count), small_data) for count in (1, 4))
    assert (whole.step.microbatches.size, parts.step.microbatches.size) == (None, 8)
    passed: list[int] = []
    parts.model.register_forward_hook(lambda module, inputs, output: passed.append(len(output)))
    rows = torch.randperm(len(small_data.train))[:batch]
    torch.testing.assert_close(_gradient(parts, rows), _gradient(whole, rows))
    assert passed == sizes
    for ours, theirs in zip(parts.step(rows), whole.step(rows), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [CrossEntropy, Focal])
def test_microbatches_give_the_gradient_of_a_weighted_loss(
    kind: type[CrossEntropy | Focal], small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    """PyTorch's weighted mean would not: it divides each part by the weights that happen to be in it."""
    rare = replace(small_data.train, labels=(small_data.train.labels - 1).clamp(min=0))
    data = replace(small_data, train=rare)
    loss = kind(class_weights="balanced")
    whole, parts = (start(configure(**standstill, accumulation=count, loss=loss), data) for count in (1, 4))
    rows = torch.randperm(len(rare))[:30]
    gradient = _gradient(whole, rows)
    torch.testing.assert_close(_gradient(parts, rows), gradient)
    plain = start(configure(**standstill, loss=kind()), data)
    assert (gradient - _gradient(plain, rows)).norm() > 0.1 * gradient.norm()
    assert whole.evaluate(data.valid) == plain.evaluate(data.valid)  # validation is the plain cross-entropy


def test_a_batch_size_that_cannot_be_divided_is_rounded_up(small_data: ImageData, configure: Configure) -> None:
    training = start(configure(batch_size=33, accumulation=4), small_data)
    assert training.step.microbatches.size == 9


def test_the_step_augments_and_counts_hits_by_the_labels(
    small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    """With mixup the targets are probabilities; what is classified correctly is said of the images' own labels."""
    augment = {"kind": "custom", "flip": True, "crop_padding": 0.2, "mixup": 1.0}
    training = start(TrialConfig.model_validate({**configure(**standstill).to_dict(), "augment": augment}), small_data)
    seen: list[Tensor] = []
    training.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    rows, before = torch.arange(64), small_data.train.images.clone()
    torch.manual_seed(5)
    result = training.step(rows)
    torch.manual_seed(5)
    augmentation = training.step.augmentation
    assert augmentation is not None
    images, labels = small_data.train.batch(rows, augmentation.change_images)
    inputs, targets = augmentation.change_batch(images, labels)
    with torch.no_grad():
        logits = training.model.train()(inputs)
    torch.testing.assert_close(seen[0], inputs)
    assert not torch.equal(images, small_data.train.batch(rows)[0])
    torch.testing.assert_close(result.loss, functional.cross_entropy(logits, targets))
    assert torch.equal(result.hits, logits.argmax(1) == labels)
    assert torch.equal(small_data.train.images, before)
    training.evaluate(small_data.valid)
    torch.testing.assert_close(torch.cat(seen[2:]), small_data.valid.slice(0, 120)[0])  # validation is not augmented
