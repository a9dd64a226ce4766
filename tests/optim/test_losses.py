"""Losses: by hand, beside scikit-learn's and PyTorch's, and at their limits."""

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional

from pipeline.config.loss import CrossEntropy, Focal, LossBlock, LossConfig
from pipeline.config.schema import kinds_of
from pipeline.core.errors import DataError
from pipeline.optim.losses import LOSSES, build_loss, class_weights

COUNTS = torch.tensor([50, 40, 8, 2])


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) * 3.0


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(4, (64,), generator=torch.Generator().manual_seed(1))


def test_every_kind_of_the_configuration_has_a_row() -> None:
    assert LOSSES.keys() == kinds_of(LossConfig).keys()


def test_plain_cross_entropy_is_pytorchs_to_the_bit(logits: Tensor, labels: Tensor) -> None:
    assert torch.equal(build_loss(CrossEntropy(), COUNTS)(logits, labels), functional.cross_entropy(logits, labels))


def test_balanced_weights_are_scikit_learns() -> None:
    images = torch.arange(4).repeat_interleave(COUNTS).numpy()
    expected = compute_class_weight("balanced", classes=np.arange(4), y=images)
    weights = class_weights(CrossEntropy(class_weights="balanced"), COUNTS)
    assert weights is not None
    assert weights.tolist() == pytest.approx(expected.tolist())


def test_a_list_of_weights_is_scaled() -> None:
    weights = class_weights(Focal(class_weights=(1.0, 1.0, 3.0, 9.0)), COUNTS)
    assert weights is not None
    assert float((weights * COUNTS).sum() / COUNTS.sum()) == pytest.approx(1.0)
    assert (weights / weights[0]).tolist() == pytest.approx([1.0, 1.0, 3.0, 9.0])


def test_a_class_without_images_has_no_weight() -> None:
    weights = class_weights(CrossEntropy(class_weights="balanced"), torch.tensor([30, 10, 0]))
    assert weights is not None
    assert weights.tolist() == pytest.approx([2 / 3, 2.0, 0.0])


def test_a_list_of_weights_has_one_for_each_class() -> None:
    with pytest.raises(DataError, match=r"got 2 weights for 4 classes\. Give one for each"):
        build_loss(CrossEntropy(class_weights=(1.0, 2.0)), COUNTS)
    with pytest.raises(ValidationError, match="greater than 0"):
        CrossEntropy(class_weights=(1.0, 0.0))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_cross_entropy_is_pytorchs_but_for_what_it_is_divided_by(
    smoothing: float, logits: Tensor, labels: Tensor
) -> None:
    loss = CrossEntropy(class_weights="balanced", label_smoothing=smoothing)
    weights = class_weights(loss, COUNTS)
    assert weights is not None
    pytorchs = functional.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    torch.testing.assert_close(build_loss(loss, COUNTS)(logits, labels), pytorchs * weights[labels].mean())


def test_focal_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
    loss = build_loss(Focal(gamma=2.0), torch.tensor([1, 1]))(probabilities.log(), torch.tensor([0, 0]))
    assert float(loss) == pytest.approx((0.1**2 * -math.log(0.9) + 0.6**2 * -math.log(0.4)) / 2)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_focal_without_gamma_is_cross_entropy(weights: str, logits: Tensor, labels: Tensor) -> None:
    kinds = TypeAdapter[LossBlock](LossConfig)
    focal, plain = (
        build_loss(kinds.validate_python(block | {"class_weights": weights}), COUNTS)
        for block in ({"kind": "focal", "gamma": 0.0}, {"kind": "cross_entropy"})
    )
    torch.testing.assert_close(focal(logits, labels), plain(logits, labels))
    mixed = torch.rand(64, 4, generator=torch.Generator().manual_seed(2)).softmax(1)  # as mixup makes them
    torch.testing.assert_close(focal(logits, mixed), plain(logits, mixed))


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 5.0])
def test_focal_has_a_gradient_where_a_network_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]], requires_grad=True)
    build_loss(Focal(gamma=gamma), torch.tensor([2, 1]))(logits, torch.tensor([0, 0, 0])).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert float(logits.grad[1].abs().max()) > 0.1
