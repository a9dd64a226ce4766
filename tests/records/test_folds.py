"""What is kept of a trial's folds."""

from dataclasses import replace

import pytest

from pipeline.records.folds import by_fold, fold_result, mean_epochs, worst_verdict
from pipeline.records.results import EpochResult, LayerFlow, TrialResult, curves_of
from pipeline.study.leaderboard import epochs_text, metric_text


def flow(first: float) -> tuple[LayerFlow, ...]:
    """Two hidden layers and an output; the gradient at the first hidden layer is so much of that at the second."""
    return tuple(LayerFlow(layer, f"l{layer}", 1.0, g, 1e-3, 0.0, 1.0) for layer, g in enumerate((first, 1.0, 1.0), 1))


def epoch(fold: int, number: int, accuracy: float, *, first: float = 1.0, is_best: bool = True) -> EpochResult:
    values = (1.0 - accuracy, accuracy, 1.0 - accuracy, accuracy, 0.01, 1.0, 0.0, 100.0, 1.0)
    ended = 1000.0 + 10 * fold + number
    return EpochResult(number, *values, is_best, gradient_flow=flow(first), ended=ended, fold=fold)


# The second fold stops early, and its gradients vanish.
EPOCHS = [
    epoch(1, 1, 0.5),
    epoch(1, 2, 0.7),
    epoch(1, 3, 0.6, is_best=False),
    epoch(2, 1, 0.3, first=1e-5),
    epoch(3, 1, 0.4),
    epoch(3, 2, 0.8),
]


def test_a_fold_has_the_values_of_its_best_epoch() -> None:
    found = [fold_result(fold, "valid_loss") for fold in by_fold(EPOCHS)]
    assert [(fold.best_epoch, fold.epochs, fold.best_valid_accuracy) for fold in found] == [
        (2, 3, 0.7),
        (1, 1, 0.3),
        (2, 2, 0.8),
    ]
    assert [fold.value for fold in found] == pytest.approx([0.3, 0.7, 0.2])
    assert [fold.ended for fold in found] == [1013.0, 1021.0, 1032.0]


def test_an_epoch_is_the_mean_over_the_folds_that_came_to_it() -> None:
    curves = curves_of(mean_epochs(EPOCHS))
    assert curves["valid_accuracy"] == pytest.approx([0.4, 0.75, 0.6])
    assert curves["ended"] == [1031.0, 1032.0, 1013.0]
    assert curves["gradient_flow"] == [[1, [1e-5, 1.0, 1.0]]]


def test_epochs_without_folds_stay_as_they_are() -> None:
    epochs = [replace(each, fold=0) for each in EPOCHS[:3]]
    assert mean_epochs(epochs) == epochs
    assert by_fold(epochs) == [epochs]
    assert mean_epochs([]) == []
    assert by_fold([]) == []


def test_the_worst_verdict_counts() -> None:
    verdict = worst_verdict(EPOCHS)
    assert verdict is not None
    assert verdict.label == "vanishing"
    assert verdict.text.startswith("in fold 2, the gradient at layer 1 is 1.0e-05 of that at layer 2")
    healthy = worst_verdict(EPOCHS[:3])
    assert healthy is not None
    assert (healthy.label, healthy.text) == ("healthy", "the gradient at layer 1 is 1 of that at layer 2")
    assert worst_verdict([replace(each, gradient_flow=()) for each in EPOCHS]) is None


def test_a_leaderboard_has_the_deviation_beside_the_mean() -> None:
    folds = tuple(fold_result(fold, "valid_accuracy") for fold in by_fold(EPOCHS))
    result = TrialResult("complete", 0.6, epochs=6, best_epoch=2, best_valid_accuracy=0.6, folds=folds)
    assert metric_text(result, "valid_accuracy") == "0.6000 ± 0.2646"
    assert epochs_text(result) == "6 in 3 folds"
    single = replace(result, folds=())
    assert (metric_text(single, "valid_accuracy"), epochs_text(single)) == ("0.6000", "2 of 6")
    assert replace(result, folds=folds[:1]).value_std is None
