"""What a trial has come to, as a `TrialResult`."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial

from pipeline.config.metrics import Monitor
from pipeline.data.image_data import ImageData
from pipeline.evaluation.speed import batch_seconds
from pipeline.models.build import num_parameters
from pipeline.records.phases import backbone_counts, phases_of
from pipeline.records.results import EpochResult, LayerFlow, Outcome, TrialResult
from pipeline.records.verdict import judge
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
) -> TrialResult:
    """Returns what a trial has come to by its epochs.

    Args:
        outcome: How it ended.
        reason: Why, where that needs saying.
        epochs: Its epochs, those before a checkpoint included.
        metric: The study's first metric.
        training: Its training; None if it has not come to that.
        seconds: Wall-clock time that it took.
    """
    best = next((epoch for epoch in reversed(epochs) if epoch.is_best), None)
    return TrialResult(
        outcome=outcome,
        value=None if best is None else best.metric_value(metric),
        epochs=len(epochs),
        best_epoch=None if best is None else best.epoch,
        best_valid_accuracy=None if best is None else best.valid_accuracy,
        best_valid_loss=None if best is None else best.valid_loss,
        best_metrics={} if best is None else best.metrics,
        num_parameters=None if training is None else num_parameters(training.model),
        samples_per_second=statistics.median(e.samples_per_second for e in epochs) if epochs else None,
        seconds=seconds,
        reason=reason,
        verdict=judge(last_flow(epochs)),
        phases=phases_of(epochs, metric),
        **backbone_counts(epochs),
    )


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


def last_flow(epochs: Sequence[EpochResult]) -> tuple[LayerFlow, ...]:
    """Returns what of gradient flow was measured last; nothing if it never was."""
    return next((epoch.gradient_flow for epoch in reversed(epochs) if epoch.gradient_flow), ())


def latency_ms(training: Training, data: ImageData) -> float:
    """Returns the median time in milliseconds of a forward pass of one image, ready on the device.

    Args:
        training: A training that has ended: its network has the best epoch's weights.
        data: Its data.
    """
    images = training.prepared(data.valid)
    return 1000.0 * batch_seconds(training.model, images, training.precision, batch_size=1, passes=LATENCY_PASSES)
