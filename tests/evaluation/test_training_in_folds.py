"""`dnntune train` with folds: each is trained, and their models are measured together."""

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import DnntuneError, StudyError
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.loading import load_data, load_test
from pipeline.display.console import metric_lines
from pipeline.evaluation.ensembles import averaged
from pipeline.evaluation.train_and_test import train_and_test
from pipeline.finalize.finalists import refuse_folds
from pipeline.records.results import EpochResult
from pipeline.training.evaluation import classification_metrics, predict
from pipeline.training.start import start

COMPUTE = Compute(device="cpu", threads=1)


def make(**settings: object) -> TrialConfig:
    fields = {"data": {"kind": "digits", "folds": 3}, "epochs": 2, "model": {"width": 16}, **settings}
    return TrialConfig.model_validate(fields)


def test_folds_are_trained_and_their_models_averaged_on_the_test_part() -> None:
    config, shown = make(), list[EpochResult]()
    measured = train_and_test(config, compute=COMPUTE)
    shown += measured
    metrics = measured.result
    assert [(epoch.fold, epoch.epoch) for epoch in shown] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    data = load_data(config.data)
    test = load_test(config.data, data)
    assert test is not None
    accuracies, predicted = [], []
    for number, fold in enumerate(data.folds, 1):
        training = start(config, data.fold(number))
        accuracies.append(max(epoch.valid_accuracy for epoch in training.epochs))
        predicted.append(predict(training.model, fold.standardized(test), training.precision))
    assert [fold["best_valid_accuracy"] for fold in metrics["folds"]] == accuracies
    assert metrics["best_valid_accuracy"] == statistics.fmean(accuracies)
    assert metrics["best_valid_accuracy_std"] == statistics.stdev(accuracies)
    low, high = metrics["best_valid_accuracy_interval"]
    assert low < metrics["best_valid_accuracy"] < high
    assert metrics["test_accuracy"] == classification_metrics(averaged(predicted), test.labels).accuracy
    assert len(torch.stack(predicted)) == 3
    lines = list(metric_lines(metrics))
    assert lines[0] == "fold  valid acc  valid loss  best epoch"
    assert lines[4].startswith(f"validation accuracy {statistics.fmean(accuracies):.4f} ± ")
    assert any(line.endswith("of the folds' models averaged") for line in lines)


def test_monte_carlo_dropout_is_averaged_over_folds() -> None:
    dropout = {"kind": "dropout", "rate": 0.3, "last_layers": 1}
    config = make(model={"width": 16, "dropout": dropout}, epochs=1)
    monte_carlo = train_and_test(config, compute=COMPUTE, mc_samples=2).result["evaluation"]["monte_carlo"]
    assert monte_carlo["samples"] == 2
    assert 0.0 < monte_carlo["accuracy"] <= 1.0


def test_frozen_layers_are_computed_once_for_all_folds(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 6)
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    config = make(
        data={"kind": "arrays", "path": str(tmp_path / "images.npz"), "folds": 3},
        model={"kind": "backbone", "name": "tf_efficientnet_lite0", "image_size": 32},
    )
    metrics = train_and_test(config, compute=COMPUTE, cache=FeatureCache(tmp_path / "cache")).result
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert (metrics["backbone_images"], metrics["cached_images"]) == (12, 3 * 2 * 12)


def test_an_export_is_one_model(tmp_path: Path) -> None:
    with pytest.raises(DnntuneError, match=r"an export is one model, and data.folds: 3 trains 3\. Train one: leave"):
        train_and_test(make(), compute=COMPUTE, export=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_fold_that_diverges_is_named() -> None:
    config = make(optimizer={"kind": "sgd", "lr": 1e30}, schedule={"kind": "constant"})
    with pytest.raises(DnntuneError, match="training diverged in fold 1: "):
        _ = train_and_test(config, compute=COMPUTE).result


def test_a_study_in_folds_has_no_model_to_finalize_or_export() -> None:
    refuse_folds("s", make(data={"kind": "digits"}))
    with pytest.raises(StudyError, match=r"a trial of study s is 3 trainings \(data\.folds: 3\), and leaves no single"):
        refuse_folds("s", make())
