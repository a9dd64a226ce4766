"""Evaluation: calibration and likelihood worked by hand, and Monte Carlo dropout against a plain loop."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.model import Dropout, MlpConfig
from pipeline.data.image_data import VALUES_PER_CHUNK, ImageData
from pipeline.models.build import build_model
from pipeline.training.evaluation import (
    calibration_error,
    classification_metrics,
    evaluate,
    predict,
    predict_by_monte_carlo,
)

Build = Callable[..., nn.Module]


@pytest.fixture
def build(small_data: ImageData) -> Build:
    """Makes a network with dropout whose batch normalization, if any, has moving statistics of its own."""

    def build(**settings: Any) -> nn.Module:
        dropout = Dropout(rate=0.4, last_layers=2, input_rate=0.1)
        config = MlpConfig(**{"hidden_layers": 2, "width": 16, "dropout": dropout, **settings})
        model = build_model(config, image_shape=small_data.image_shape, num_classes=small_data.num_classes)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
        return model

    return build


def _monte_carlo(model: nn.Module, data: ImageData, *, samples: int, seed: int) -> Tensor:
    return predict_by_monte_carlo(model, data.valid, nullcontext(), samples=samples, seed=seed)


def _by_hand(model: nn.Module, chunks: Sequence[Tensor], *, samples: int, seed: int) -> Tensor:
    """Probabilities, averaged over passes with dropout; every chunk has its passes one after the other."""
    model.eval()
    for module in model.modules():
        if "Dropout" in type(module).__name__:
            module.train()
    torch.manual_seed(seed)
    with torch.no_grad():
        means = [sum(model(images).double().softmax(1) for _ in range(samples)) / samples for images in chunks]
    return torch.cat(means)


def _error(confidences: Sequence[float], right: Sequence[int], bins: int) -> float:
    """The calibration error where class 0 of 2 is always the predicted one."""
    probabilities = torch.tensor([[value, 1.0 - value] for value in confidences], dtype=torch.float64)
    return calibration_error(probabilities, 1 - torch.tensor(right), bins)


def test_perfect_calibration_has_error_0() -> None:
    assert _error([0.75] * 4, [1, 1, 0, 1], bins=15) == 0.0
    assert _error([1.0] * 3, [1, 1, 1], bins=15) == 0.0
    assert _error([0.75] * 4 + [0.625] * 8, [1, 1, 1, 0] + [1] * 5 + [0] * 3, bins=15) == 0.0


def test_always_confident_and_wrong_has_error_1() -> None:
    assert _error([1.0] * 5, [0] * 5, bins=15) == 1.0


def test_bins_are_weighted_by_their_images() -> None:
    """In (0.5, 0.75]: confidence 0.6 and accuracy 1/3; above: 0.9 and 1, for one image of four."""
    assert _error([0.55, 0.6, 0.65, 0.9], [0, 1, 0, 1], bins=4) == pytest.approx(0.75 * (0.6 - 1 / 3) + 0.25 * 0.1)


def test_errors_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    confidences, right = [0.6, 0.9], [1, 0]
    assert _error(confidences, right, bins=1) == pytest.approx(0.25)
    assert _error(confidences, right, bins=4) == pytest.approx((0.4 + 0.9) / 2)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    assert _error([0.75, 0.625], [1, 0], bins=4) == pytest.approx((0.75 + 0.625 - 1.0) / 2)
    assert _error([0.75, 0.875], [1, 0], bins=4) == pytest.approx((0.25 + 0.875) / 2)


def test_fifteen_bins_unless_told_otherwise() -> None:
    """Neighbors in the 14th bin, (13/15, 14/15], and in two bins of 16: (13/16, 14/16], (14/16, 15/16]."""
    probabilities = torch.tensor([[0.87, 0.13], [0.93, 0.07]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    assert calibration_error(probabilities, labels) == pytest.approx((0.87 + 0.93 - 1.0) / 2)
    assert calibration_error(probabilities, labels, 16) == pytest.approx((0.13 + 0.93) / 2)


def test_assessment_worked_by_hand() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
    found = classification_metrics(probabilities.log(), torch.tensor([0, 2]))
    assert found.accuracy == 0.5
    assert found.log_likelihood == pytest.approx((math.log(0.5) + math.log(0.125)) / 2)
    assert found.calibration_error == pytest.approx((0.5 + 0.75) / 2)
    entropies = [1.5 * math.log(2.0), 0.25 * math.log(8.0) - 0.75 * math.log(0.75)]
    assert found.entropy == pytest.approx(sum(entropies) / 2)


@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_entropy_of_a_uniform_distribution_is_the_logarithm_of_the_classes(num_classes: int) -> None:
    found = classification_metrics(torch.zeros(7, num_classes).log_softmax(1), torch.zeros(7, dtype=torch.long))
    assert found.entropy == pytest.approx(math.log(num_classes))
    assert found.log_likelihood == pytest.approx(-math.log(num_classes))


def test_a_certain_prediction_has_entropy_0() -> None:
    found = classification_metrics(torch.tensor([[0.0, -math.inf]]), torch.tensor([0]))
    assert (found.accuracy, found.log_likelihood, found.calibration_error, found.entropy) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("images_per_chunk", [1, 50, 1000])
def test_predictions_are_the_networks_without_dropout(
    images_per_chunk: int, small_data: ImageData, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VALUES_PER_CHUNK, "cpu", images_per_chunk * 25)
    model = build(batch_norm="before").train()
    found = predict(model, small_data.valid, nullcontext())
    assert not model.training
    images, labels = small_data.valid.slice(0, 120)
    torch.testing.assert_close(found, model(images).log_softmax(1).detach(), rtol=1e-4, atol=1e-5)
    loss, accuracy = evaluate(model, small_data.valid, nullcontext())
    assessment = classification_metrics(found, labels)
    assert assessment.accuracy == accuracy
    assert assessment.log_likelihood == pytest.approx(-loss, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"batch_norm": "before"}, {"batch_norm": "after", "input_batch_norm": True}, {"activation": "selu"}],
    ids=["before", "after", "alpha dropout"],
)
@pytest.mark.parametrize("samples", [1, 5])
def test_monte_carlo_averages_probabilities(
    settings: dict[str, Any], samples: int, small_data: ImageData, build: Build
) -> None:
    model = build(**settings)
    found = _monte_carlo(model, small_data, samples=samples, seed=3)
    images, _ = small_data.valid.slice(0, 120)
    expected = _by_hand(model, [images], samples=samples, seed=3)
    torch.testing.assert_close(found.double().exp(), expected, rtol=1e-4, atol=1e-6)
    assert (found - predict(model, small_data.valid, nullcontext())).abs().max() > 0.1


def test_monte_carlo_in_chunks(small_data: ImageData, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VALUES_PER_CHUNK, "cpu", 50 * 25)
    model = build()
    found = _monte_carlo(model, small_data, samples=4, seed=3)
    images, _ = small_data.valid.slice(0, 120)
    expected = _by_hand(model, images.split(50), samples=4, seed=3)
    torch.testing.assert_close(found.double().exp(), expected, rtol=1e-4, atol=1e-6)


def test_every_sample_has_masks_of_its_own(small_data: ImageData, build: Build) -> None:
    model = build()
    one, four = (_monte_carlo(model, small_data, samples=samples, seed=3) for samples in (1, 4))
    assert (one - four).abs().max() > 0.1


def test_monte_carlo_gives_probabilities(small_data: ImageData, build: Build) -> None:
    found = _monte_carlo(build(), small_data, samples=10, seed=0)
    assert found.shape == (120, 4)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(120))


def test_the_seed_decides_the_masks(small_data: ImageData, build: Build) -> None:
    model = build()
    first = _monte_carlo(model, small_data, samples=3, seed=1)
    torch.rand(5)
    assert torch.equal(_monte_carlo(model, small_data, samples=3, seed=1), first)
    assert not torch.equal(_monte_carlo(model, small_data, samples=3, seed=2), first)


@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_monte_carlo_leaves_the_model_in_evaluation_mode_and_its_statistics_alone(
    activation: str, small_data: ImageData, build: Build
) -> None:
    model = build(activation=activation, batch_norm="before", input_batch_norm=True).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _monte_carlo(model, small_data, samples=2, seed=0)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_monte_carlo_needs_dropout(small_data: ImageData, build: Build) -> None:
    with pytest.raises(AssertionError):
        _monte_carlo(build(dropout=Dropout(rate=0.0)), small_data, samples=2, seed=0)
