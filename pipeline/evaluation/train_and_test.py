"""One configuration, trained and measured, with folds once for each: what `dnntune train` does."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import DnntuneError
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.loading import doubt_of_test
from pipeline.evaluation.ensembles import averaged
from pipeline.evaluation.intervals import SHARE, fold_interval, wilson_interval
from pipeline.evaluation.metrics import class_results, confusion_matrix, largest_confusions
from pipeline.export.folder import check_folder
from pipeline.export.formats.graphs import check_packages
from pipeline.export.writing import export_model
from pipeline.models.build import num_parameters
from pipeline.records.folds import by_fold, fold_result, worst_verdict
from pipeline.records.phases import backbone_counts, phases_text
from pipeline.records.results import EpochResult, FoldResult, at_best_epoch
from pipeline.records.verdict import judge
from pipeline.setup.inputs import Inputs
from pipeline.training.evaluation import classification_metrics, predict, predict_by_monte_carlo
from pipeline.training.loop import DivergedError
from pipeline.training.metrics import build_meters, measured, probabilities_of
from pipeline.training.start import Training, start_folds

if TYPE_CHECKING:
    from pipeline.data.image_data import LabeledImages

# An export is compared with the trained model on so many validation images.
CHECKED_IMAGES = 512
# Figures that go into an export: those that the same training gives again.
EXPORTED_METRICS = (
    *("best_valid_accuracy", "best_valid_loss", "best_epoch", "epochs"),
    *("test_accuracy", "test_accuracy_interval", "test_loss", "num_parameters"),
)


class MeasuredTraining:
    """A training that is measured at its end: an iterable of epochs, and then the result.

    Args:
        epochs: Yields them, and returns the result.
    """

    def __init__(self, epochs: Generator[EpochResult, None, dict[str, Any]]) -> None:
        self._epochs = epochs
        self._result: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[EpochResult]:
        """Trains on, epoch by epoch, and measures after the last one."""
        while self._result is None:
            try:
                epoch = next(self._epochs)
            except StopIteration as end:
                self._result = end.value
                return
            yield epoch  # not yield from: that would end the training where somebody leaves a loop

    @property
    def result(self) -> dict[str, Any]:
        """What `train_and_test` says; epochs that are left are trained first.

        Raises:
            DnntuneError: As `train_and_test`; or it has raised already.
        """
        for _ in self:
            pass
        if self._result is None:
            raise DnntuneError("this training ended with an error, and has no result. Train again")
        return self._result


def train_and_test(
    config: TrialConfig,
    *,
    data_dir: str | None = None,
    compute: Compute = Compute(),
    mc_samples: int | None = None,
    cache: FeatureCache | None = None,
    notify: Callable[[str], None] = lambda text: None,
    export: Path | None = None,
) -> MeasuredTraining:
    """Trains a configuration, measures the best epoch's model on the test set once, and exports it if asked to.

    Args:
        config: What to train.
        data_dir: Folder in which data sets are looked for first.
        compute: What it runs on.
        mc_samples: Passes of Monte Carlo dropout, measured beside the plain evaluation; None for none.
        cache: Where the output of frozen layers is kept; None to compute it in every epoch.
        notify: Is given how many images each class has, and what makes the figures doubtful: before the first epoch,
            and before the evaluation.
        export: Folder to export the model to, see `pipeline.export.writing`; None for nowhere.

    Returns:
        The training: its epochs, and as its result best_valid_accuracy, best_valid_loss, what else is monitored
        (best_valid_macro_f1, ...), best_epoch, epochs (with folds: means, the median, all together; then also
        best_valid_accuracy_std, best_valid_accuracy_interval, see `fold_interval`, and folds, a mapping for each),
        test_accuracy, test_accuracy_interval and test_loss (None where the data have no test set), samples_per_second
        (median over the epochs, training alone), num_parameters, seconds; verdict (label and text, on gradient flow);
        evaluation: its split (test, or valid where the data have no test set), deterministic, and monte_carlo (None
        without), each as `ClassificationMetrics`, metrics (what else is monitored, such as macro_f1), classes (each
        `ClassResult` with its f1) and confusions (the largest, each a `Confusion`); of a backbone phases,
        backbone_images and cached_images, as in `TrialResult`; export, as `Exported`.

    Raises:
        DnntuneError: The data or the device cannot be used, the training diverges, or Monte Carlo dropout is asked of a
            network without dropout.
    """
    if mc_samples is not None and not config.model.drops:
        raise DnntuneError(
            "Monte Carlo dropout needs dropout; this network has none. Set model.dropout, or leave --mc-samples out"
        )
    if export is not None:
        if config.data.num_folds > 1:
            raise DnntuneError(
                f"an export is one model, and data.folds: {config.data.folds} trains {config.data.folds}. "
                "Train one: leave data.folds out (--set data.folds=1)"
            )
        check_packages()
        check_folder(export, overwrite=False)
    return MeasuredTraining(_epochs_and_metrics(config, data_dir, compute, mc_samples, cache, notify, export))


def _epochs_and_metrics(
    config: TrialConfig,
    data_dir: str | None,
    compute: Compute,
    mc_samples: int | None,
    cache: FeatureCache | None,
    notify: Callable[[str], None],
    export: Path | None,
) -> Generator[EpochResult, None, dict[str, Any]]:
    started = time.monotonic()
    inputs = Inputs(compute, data_dir=data_dir)
    data = inputs.data(config)
    epochs: list[EpochResult] = []
    plain: list[Tensor] = []
    sampled: list[Tensor] = []
    labels: list[Tensor] = []
    training: Training | None = None
    test: LabeledImages | None = None
    try:
        for training in start_folds(config, data, measure_every=StudyConfig().gradient_flow_steps, cache=cache):
            if training.fold <= 1:  # not before: what is wrong with the network is said by then
                notify(data.class_counts.text)
                for warning in data.warnings:
                    notify(warning)
            for epoch in training.epochs:
                epochs.append(replace(epoch, fold=training.fold))
                yield epochs[-1]
            if training.fold <= 1:
                test = inputs.test(config)
                if test is not None and (doubt := doubt_of_test(data, test)) is not None:
                    notify(doubt)
            images = data.fold(training.fold).valid if test is None else test
            if training.fold and test is not None:
                images = data.folds[training.fold - 1].standardized(test)
            images = training.prepared(images)
            labels.append(images.labels)
            plain.append(predict(training.model, images, training.precision))
            if mc_samples is not None:
                sampled.append(
                    predict_by_monte_carlo(
                        training.model, images, training.precision, samples=mc_samples, seed=config.seed
                    )
                )
    except DivergedError as error:
        where = f" in fold {training.fold}" if training is not None and training.fold else ""
        verdict = judge(error.gradient_flow, str(error))
        exploding = verdict is not None and verdict.label == "exploding"
        cause = f" Gradients explode: {verdict.text}." if verdict is not None and exploding else ""
        remedy = "Lower optimizer.lr, or clip the gradient (clip: norm); dnntune diagnose tries what helps"
        raise DnntuneError(f"training diverged{where}: {error}.{cause} {remedy}") from None
    assert training is not None

    def together(predicted: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns what a model, or that of each fold, has predicted of the folds, or, averaged, of the test set."""
        if test is None:
            return torch.cat(list(predicted)), torch.cat(labels)
        return averaged(predicted) if len(predicted) > 1 else predicted[0], labels[0]

    log_probabilities, right = together(plain)
    deterministic = classification_metrics(log_probabilities, right)
    confusion = confusion_matrix(log_probabilities.argmax(1), right, data.num_classes)
    meters = build_meters(tuple(epochs[-1].metrics), data.class_names, right.device)
    further = measured(meters, probabilities_of(log_probabilities), right)
    monte_carlo = None
    if mc_samples is not None:
        monte_carlo = {"samples": mc_samples, **dataclasses.asdict(classification_metrics(*together(sampled)))}
    accuracy = None if test is None else deterministic.accuracy
    verdict = worst_verdict(epochs)
    folds = [fold_result(fold, config.early_stopping.monitor) for fold in by_fold(epochs)]
    phases = None if data.folds else phases_text(folds[0].phases)
    metrics = {
        "best_valid_accuracy": statistics.fmean(fold.best_valid_accuracy for fold in folds),
        "best_valid_loss": statistics.fmean(fold.best_valid_loss for fold in folds),
        **{
            at_best_epoch(name): statistics.fmean(fold.best_metrics[name] for fold in folds)
            for name in epochs[-1].metrics
        },
        "best_epoch": round(statistics.median(fold.best_epoch for fold in folds)),
        "epochs": len(epochs),
        **(_fold_metrics(folds) if data.folds else {}),
        "test_accuracy": accuracy,
        "test_accuracy_interval": None if accuracy is None or test is None else wilson_interval(accuracy, len(test)),
        "test_loss": None if test is None else -deterministic.log_likelihood,
        "samples_per_second": statistics.median(epoch.samples_per_second for epoch in epochs),
        "num_parameters": num_parameters(training.model),
        "seconds": time.monotonic() - started,
        **({} if phases is None else {"phases": phases}),
        **backbone_counts(epochs),
        "verdict": None if verdict is None else dataclasses.asdict(verdict),
        "evaluation": {
            "split": "valid" if test is None else "test",
            "deterministic": dataclasses.asdict(deterministic),
            "monte_carlo": monte_carlo,
            "metrics": {name.removeprefix("valid_"): value for name, value in further.items()},
            "classes": [
                {**dataclasses.asdict(one), "f1": one.f1} for one in class_results(confusion, data.class_names)
            ],
            "confusions": [dataclasses.asdict(one) for one in largest_confusions(confusion, data.class_names)],
        },
    }
    if export is None:
        return metrics
    written = export_model(
        training.model,
        config=config,
        images=data.valid.first(CHECKED_IMAGES),
        class_names=data.class_names,
        image_shape=data.image_shape,
        metrics={name: metrics[name] for name in EXPORTED_METRICS if metrics[name] is not None},
        folder=export,
    )
    return {**metrics, "export": written.to_json()}


def _fold_metrics(folds: Sequence[FoldResult]) -> dict[str, Any]:
    values = [fold.best_valid_accuracy for fold in folds]
    names = ("best_valid_accuracy", "best_valid_loss", "best_epoch", "epochs")
    return {
        "best_valid_accuracy_std": statistics.stdev(values),
        "best_valid_accuracy_interval": fold_interval(values, SHARE),
        "folds": [{name: getattr(fold, name) for name in names} for fold in folds],
    }
