"""What a trial has come to, as a `TrialResult`."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial

from pipeline.config.metrics import Monitor
from pipeline.data.image_data import ImageData
from pipeline.evaluation.speed import batch_seconds
from pipeline.models.build import num_parameters
from pipeline.records.folds import by_fold, fold_result, worst_verdict
from pipeline.records.phases import backbone_counts
from pipeline.records.results import EpochResult, Outcome, TrialResult
from pipeline.study.trials import result_of
from pipeline.training.start import Training

# A pass of a small network takes a tenth of a millisecond: the median wants many of them.
LATENCY_PASSES = 100


def result_of_epochs(
    outcome: Outcome,
    reason: str | None,
    epochs: Sequence[EpochResult],
    *,
    metric: Monitor,
    training: Training | None,
    seconds: float,
    num_folds: int = 0,
) -> TrialResult:
    """Returns what a trial has come to by its epochs.

    Args:
        outcome: How it ended.
        reason: Why, where that needs saying.
        epochs: Its epochs, those before a checkpoint included.
        metric: The study's first metric.
        training: Its training; None if it has not come to that.
        seconds: Wall-clock time that it took.
        num_folds: How many folds are done; 0 without folds.
    """
    found = [fold_result(each, metric) for each in by_fold(epochs)]
    done = found[: max(num_folds, 1)]
    return TrialResult(
        outcome=outcome,
        value=_mean(fold.value for fold in done),
        epochs=len(epochs),
        best_epoch=round(statistics.median(fold.best_epoch for fold in done)) if done else None,
        best_valid_accuracy=_mean(fold.best_valid_accuracy for fold in done),
        best_valid_loss=_mean(fold.best_valid_loss for fold in done),
        best_metrics={
            name: statistics.fmean(fold.best_metrics[name] for fold in done)
            for name in (done[0].best_metrics if done else ())
        },
        num_parameters=None if training is None else num_parameters(training.model),
        samples_per_second=statistics.median(e.samples_per_second for e in epochs) if epochs else None,
        seconds=seconds,
        reason=reason,
        verdict=worst_verdict(epochs),
        phases=found[0].phases if found and not epochs[0].fold else (),
        folds=tuple(found[:num_folds]),
        **backbone_counts(epochs),
    )


def _mean(values: Iterable[float]) -> float | None:
    """Returns the mean of some values, of a single one that itself; None of none."""
    there = list(values)
    return statistics.fmean(there) if there else None


def reused_result(duplicate: FrozenTrial) -> TrialResult:
    """Returns the result of an earlier trial with the same configuration, as another trial's."""
    result = result_of(duplicate)
    assert result is not None
    images = None if result.backbone_images is None else 0
    return replace(
        result,
        backbone_images=images,
        cached_images=images,
        seconds=0.0,
        duplicate_of=duplicate.number,
        reason=f"duplicate of trial {duplicate.number}",
    )


def latency_ms(training: Training, data: ImageData) -> float:
    """Returns the median time in milliseconds of a forward pass of one image, ready on the device.

    Args:
        training: A training that has ended: its network has the best epoch's weights.
        data: Its data.
    """
    images = training.prepared(data.valid)
    return 1000.0 * batch_seconds(training.model, images, training.precision, batch_size=1, passes=LATENCY_PASSES)
