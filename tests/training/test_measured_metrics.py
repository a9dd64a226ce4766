"""Metrics: the same values as scikit-learn's on the same predictions, and in a training wherever one may stand."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor
from torch.nn import functional

from pipeline.config import training as configs
from pipeline.config.metrics import METRICS, direction, measured_metrics
from pipeline.config.training import EarlyStopping
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData
from pipeline.records.results import EpochResult
from pipeline.training.evaluation import calibration_error, classification_metrics, evaluate, predict
from pipeline.training.metrics import BUILDERS, build_meters, measured, metric_of, probabilities_of
from pipeline.training.start import start

Configure = Callable[..., TrialConfig]
CPU = torch.device("cpu")
CLASSES = ("none", "left", "right", "both")
ARGUMENTS = {"valid_top_k_accuracy": ":2", "valid_recall": ":right"}
EVERY_METRIC = tuple(f"{name}{ARGUMENTS.get(name, '')}" for name in BUILDERS)


def predictions(num_images: int = 500, num_classes: int = 4) -> tuple[Tensor, Tensor]:
    """Log-probabilities and labels of an imbalanced problem: 70 % of the first class."""
    generator = np.random.default_rng(0)
    share = np.array([0.7, *([0.3 / (num_classes - 1)] * (num_classes - 1))])
    labels = torch.from_numpy(generator.choice(num_classes, num_images, p=share))
    logits = torch.from_numpy(generator.normal(size=(num_images, num_classes))).float()
    logits[torch.arange(num_images), labels] += 1.5
    return functional.log_softmax(logits, 1), labels


def sklearns(log_probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    probabilities = log_probabilities.double().exp().numpy()
    truth, guess = labels.numpy(), probabilities.argmax(1)
    return {
        "valid_balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, guess),
        "valid_macro_f1": sklearn_metrics.f1_score(truth, guess, average="macro"),
        "valid_auroc": sklearn_metrics.roc_auc_score(
            truth, probabilities / probabilities.sum(1, keepdims=True), multi_class="ovr"
        ),
        "valid_top_k_accuracy:2": sklearn_metrics.top_k_accuracy_score(truth, probabilities, k=2),
        "valid_recall:right": sklearn_metrics.recall_score(truth, guess, average=None)[2],
        "valid_cohen_kappa": sklearn_metrics.cohen_kappa_score(truth, guess),
        "valid_log_likelihood": -sklearn_metrics.log_loss(truth, probabilities),
        # Scikit-learn has none: ours is by hand, of Guo et al., eq. (3).
        "valid_calibration_error": calibration_error(log_probabilities.exp(), labels),
    }


def test_every_metric_that_is_measured_has_a_row() -> None:
    rows = {name for name, row in METRICS.items() if isinstance(row.build, str)}
    assert rows == BUILDERS.keys()


def test_values_are_scikit_learns() -> None:
    log_probabilities, labels = predictions()
    values = measured(build_meters(EVERY_METRIC, CLASSES, CPU), probabilities_of(log_probabilities), labels)
    assert values == pytest.approx(sklearns(log_probabilities, labels), abs=2e-6)
    assert len(set(values.values())) == len(values)
    for metric, value in values.items():
        row = METRICS[metric.partition(":")[0]]
        assert row.low is None or value >= row.low
        assert row.high is None or value <= row.high


def test_of_two_classes_too() -> None:
    log_probabilities, labels = predictions(num_classes=2)
    probabilities, truth = probabilities_of(log_probabilities), labels.numpy()
    names = ("valid_auroc", "valid_macro_f1", "valid_recall:ill")
    values = measured(build_meters(names, ("well", "ill"), CPU), probabilities, labels)
    guess = probabilities.argmax(1).numpy()
    assert values["valid_auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, probabilities[:, 1].numpy()))
    assert values["valid_macro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, guess, average="macro"))
    assert values["valid_recall:ill"] == pytest.approx(sklearn_metrics.recall_score(truth, guess))


def test_the_plain_figures_agree() -> None:
    log_probabilities, labels = predictions()
    plain = classification_metrics(log_probabilities, labels)
    probabilities = probabilities_of(log_probabilities)
    meters = build_meters(("valid_log_likelihood", "valid_calibration_error"), CLASSES, CPU)
    values = measured(meters, probabilities, labels)
    assert values["valid_log_likelihood"] == pytest.approx(plain.log_likelihood, abs=1e-6)
    assert values["valid_calibration_error"] == pytest.approx(plain.calibration_error, abs=1e-6)


def test_certain_predictions_are_no_logits() -> None:
    """A probability that is rounded to more than 1 would make torchmetrics take a softmax of all."""
    log_probabilities = torch.tensor([[1e-7, -16.0], [-16.0, 1e-7]])
    meters = build_meters(("valid_calibration_error",), ("a", "b"), CPU)
    values = measured(meters, probabilities_of(log_probabilities), torch.tensor([0, 1]))
    assert values["valid_calibration_error"] == pytest.approx(0.0, abs=1e-6)


def test_nothing_is_remembered_from_before() -> None:
    log_probabilities, labels = predictions()
    probabilities = probabilities_of(log_probabilities)
    meters = build_meters(EVERY_METRIC, CLASSES, CPU)
    first = measured(meters, probabilities[:250], labels[:250])
    measured(meters, probabilities[250:], labels[250:])
    assert measured(meters, probabilities[:250], labels[:250]) == first


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("valid_recall:rigth", r"no such class. Did you mean right\?. The classes are none, left, right, both"),
        ("valid_top_k_accuracy:4", "K must be smaller than the number of classes, 4"),
    ],
)
def test_what_the_classes_do_not_have_is_said(metric: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        build_meters([metric], CLASSES, CPU)


def test_a_metric_that_is_not_defined_is_said() -> None:
    probabilities, labels = torch.tensor([[0.9, 0.1]] * 3), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(DataError, match=r"valid_cohen_kappa is not defined on these 3 images: it is nan"):
        measured(build_meters(["valid_cohen_kappa"], ("a", "b"), CPU), probabilities, labels)


def test_smaller_is_better_where_it_is() -> None:
    log_probabilities, labels = predictions()
    score = metric_of("valid_calibration_error", CLASSES)(log_probabilities.exp(), labels)
    assert score == pytest.approx(-calibration_error(log_probabilities.exp(), labels), abs=1e-6)


@pytest.mark.parametrize("monitor", EVERY_METRIC)
def test_each_can_be_watched(monitor: str, small_data: ImageData, configure: Configure) -> None:
    stopping = EarlyStopping(monitor=monitor, patience=None)
    training = start(configure(epochs=4, early_stopping=stopping), small_data)
    epochs = list(training.epochs)
    values = [epoch.metric_value(monitor) for epoch in epochs]
    sign = 1 if direction(monitor) == "maximize" else -1
    best = max(range(4), key=lambda number: sign * values[number])
    assert [epoch.is_best for epoch in epochs].index(True) == 0
    assert max(number for number, epoch in enumerate(epochs) if epoch.is_best) == best
    # The weights that came back are the best epoch's.
    meters = build_meters([monitor], small_data.class_names, CPU)
    predicted = probabilities_of(predict(training.model, training.prepared(small_data.valid), training.precision))
    assert measured(meters, predicted, small_data.valid.labels)[monitor] == pytest.approx(values[best], abs=1e-6)


def _without_metrics(epoch: EpochResult) -> EpochResult:
    return replace(epoch, seconds=0.0, samples_per_second=0.0, metrics={})


def test_measuring_more_changes_no_number(small_data: ImageData, configure: Configure) -> None:
    plain = list(start(configure(epochs=3), small_data).epochs)
    more = list(start(configure(epochs=3), small_data, metrics=["latency_ms", *EVERY_METRIC]).epochs)
    assert list(map(_without_metrics, plain)) == list(map(_without_metrics, more))
    assert [epoch.metrics for epoch in plain] == [{}] * 3
    assert [tuple(epoch.metrics) for epoch in more] == [EVERY_METRIC] * 3
    assert more[-1].metrics["valid_log_likelihood"] == -more[-1].valid_loss


def test_the_performance_schedule_watches_them(small_data: ImageData, configure: Configure) -> None:
    schedule = configs.Performance(monitor="valid_macro_f1", patience=1, min_delta=2.0)  # nothing improves so much
    rates = [epoch.lr for epoch in start(configure(epochs=4, schedule=schedule), small_data).epochs]
    assert rates[1] == pytest.approx(rates[0])
    assert rates[2] == pytest.approx(rates[1] / 2)


def test_plain_accuracy_and_loss_need_no_torchmetrics() -> None:
    assert measured_metrics(("valid_accuracy", "valid_loss", "latency_ms", "num_parameters")) == ()
    code = "import sys, pipeline.training.start; assert 'torchmetrics' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_present_path_is_taken_where_nothing_more_is_asked_for(
    small_data: ImageData, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("pipeline.training.loop.evaluate_metrics", refuse)
    training = start(configure(epochs=1), small_data)
    (epoch,) = training.epochs
    loss, accuracy = evaluate(training.model, small_data.valid, training.precision)
    assert (epoch.valid_loss, epoch.valid_accuracy) == (loss, accuracy)
