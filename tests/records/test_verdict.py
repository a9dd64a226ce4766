"""The verdict on gradient flow: its thresholds from both sides, and the lecture's networks of 20 layers."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from pipeline.analysis.probe import first_steps
from pipeline.config.model import MlpConfig
from pipeline.data.image_data import ImageData
from pipeline.data.noise import noise
from pipeline.records.results import LayerFlow, Verdict
from pipeline.records.verdict import DEAD, EXPLODING, VANISHING, first_to_last, hidden_layers, judge
from pipeline.space.files import load_configuration
from pipeline.space.overrides import Override


@pytest.fixture(scope="module")
def images() -> ImageData:
    return noise("3x32x32", torch.device("cpu"))


def _layers(gradients: Sequence[float], *, dead: dict[int, float] | None = None) -> list[LayerFlow]:
    """Hidden layers with these gradients, and an output; which share of a layer's units is dead, by its number."""
    shares = None if dead is None else [dead.get(number, 0.0) for number in range(1, len(gradients) + 1)]
    hidden = [
        _layer(number, gradient, None if shares is None else shares[number - 1])
        for number, gradient in enumerate(gradients, 1)
    ]
    return [*hidden, _layer(len(gradients) + 1, 123.0, None)]


def _layer(number: int, gradient: float, dead: float | None) -> LayerFlow:
    return LayerFlow(
        number,
        f"layers.{number}",
        weight_gradient=1.0,
        gradient=gradient,
        update_ratio=1e-3,
        mean=0.0,
        std=1.0,
        dead=dead,
    )


def _word(*arguments: Any, **settings: Any) -> str:
    verdict = judge(_layers(*arguments, **settings))
    assert verdict is not None
    return verdict.label


def test_thresholds_are_the_documented_ones() -> None:
    assert (VANISHING, EXPLODING, DEAD) == (1e-3, 1e3, 0.5)


@pytest.mark.parametrize(
    ("ratio", "word"),
    [
        (1e-30, "vanishing"),
        (0.999e-3, "vanishing"),
        (1.001e-3, "healthy"),
        (0.17, "healthy"),
        (1.0, "healthy"),
        (999.0, "healthy"),
        (1001.0, "exploding"),
        (1e30, "exploding"),
    ],
)
@pytest.mark.parametrize("last", [1.0, 1e-6, 1e4])
def test_the_first_hidden_layer_over_the_last_decides(ratio: float, word: str, last: float) -> None:
    assert _word([ratio * last, last, last]) == word
    assert _word([ratio * last, 50.0 * last, last]) == word
    assert first_to_last(_layers([ratio * last, last])) == pytest.approx(ratio)


def test_the_thresholds_themselves_are_healthy() -> None:
    assert _word([VANISHING, 1.0]) == "healthy"
    assert _word([EXPLODING, 1.0]) == "healthy"
    assert _word([1.0, 1.0], dead={1: DEAD}) == "healthy"


def test_the_output_is_no_hidden_layer() -> None:
    layers = _layers([2.0, 4.0])
    assert [layer.layer for layer in hidden_layers(layers)] == [1, 2]
    assert first_to_last(layers) == 0.5
    assert hidden_layers(layers[:1]) == layers[:1]


def test_vanishing_names_the_last_layer_that_gets_less_than_a_thousandth() -> None:
    verdict = judge(_layers([1e-9, 1e-6, 0.5e-3, 2e-3, 1.0]))
    assert verdict == Verdict(
        "vanishing", "the gradient at layer 1 is 1.0e-09 of that at layer 5, below a thousandth from layer 3 down"
    )


def test_exploding_names_the_ratio() -> None:
    assert judge(_layers([2e5, 1.0])) == Verdict("exploding", "the gradient at layer 1 is 2.0e+05 of that at layer 2")


def test_healthy_names_the_ratio() -> None:
    assert judge(_layers([0.5, 3.0, 2.0])) == Verdict("healthy", "the gradient at layer 1 is 0.25 of that at layer 3")


def test_dead_names_the_layer_with_the_most() -> None:
    verdict = judge(_layers([1.0, 1.0, 1.0], dead={1: 0.51, 2: 0.75, 3: 0.1}))
    assert verdict == Verdict("dead", "75% of layer 2's units are positive for no image")


@pytest.mark.parametrize(("share", "word"), [(0.49, "healthy"), (0.51, "dead"), (1.0, "dead")])
def test_more_than_half_of_a_layers_units_are_dead(share: float, word: str) -> None:
    assert _word([1.0, 1.0, 1.0], dead={2: share}) == word
    assert _word([1.0], dead={1: share}) == word


def test_vanishing_and_exploding_come_before_dead() -> None:
    assert _word([1e-5, 1.0], dead={2: 0.6}) == "vanishing"
    assert _word([1e5, 1.0], dead={2: 0.6}) == "exploding"


def test_no_gradient_at_all_because_a_layer_is_dead_is_called_dead() -> None:
    verdict = judge(_layers([0.0, 0.0, 0.0], dead={2: 1.0}))
    assert verdict == Verdict("dead", "100% of layer 2's units are positive for no image")


def test_no_gradient_at_all_is_vanishing_otherwise() -> None:
    assert first_to_last(_layers([0.0, 0.0])) == 0.0
    assert _word([0.0, 0.0]) == "vanishing"
    assert _word([0.0, 0.0], dead={1: 0.6}) == "vanishing"
    assert _word([0.0, 1.0]) == "vanishing"


def test_a_single_hidden_layer_is_its_own_measure() -> None:
    layers = _layers([1e-7])
    assert first_to_last(layers) == 1.0
    assert judge(layers) == Verdict("healthy", "the only hidden layer gets gradient")


def test_a_single_hidden_layer_without_gradient_is_not_healthy() -> None:
    assert _word([0.0]) != "healthy"


def test_nothing_measured_has_no_verdict_but_divergence() -> None:
    assert judge([]) is None
    assert judge([], "it diverged") == Verdict("diverged", "it diverged")


def test_divergence_is_named_unless_the_gradient_explodes() -> None:
    text = "the gradient at layer 1 is 1.0e+06 of that at layer 2; it diverged"
    assert judge(_layers([1e6, 1.0]), "it diverged") == Verdict("exploding", text)
    for gradients in ([1.0, 1.0], [1e-6, 1.0]):
        assert judge(_layers(gradients), "it diverged") == Verdict("diverged", "it diverged")
    assert judge(_layers([1.0, 1.0], dead={1: 1.0}), "it diverged") == Verdict("diverged", "it diverged")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (["activation=sigmoid", "initialization=glorot"], "vanishing"),
        (["activation=relu", "initialization=torch"], "vanishing"),
        (["activation=relu", "initialization=he"], "healthy"),
        (["activation=selu", "initialization=lecun"], "healthy"),
        (["activation=tanh", "initialization=glorot"], "healthy"),
        (["activation=relu", "initialization=he", "initialization_gain=3.0"], "exploding"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_the_lectures_networks_of_20_layers(settings: list[str], word: str, images: ImageData) -> None:
    config = load_configuration("lecture_deep", [Override.parse(f"model.{setting}") for setting in settings])
    assert isinstance(config.model, MlpConfig)
    assert config.model.widths == (100,) * 20
    probe_run = first_steps(config, images, num_steps=6, measure_every=5)
    verdict = judge(probe_run.layers, probe_run.diverged)
    assert len(probe_run.layers) == 21
    assert verdict is not None
    assert (verdict.label, "of that at layer 20" in verdict.text) == (word, True), verdict.text
