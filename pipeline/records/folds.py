"""What a trial's folds have brought, in plain values."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.metrics import Monitor
from pipeline.records.phases import phases_of
from pipeline.records.results import EpochResult, FoldResult, LayerFlow, Verdict, VerdictLabel
from pipeline.records.verdict import judge

# From the worst to the best.
LABELS: tuple[VerdictLabel, ...] = ("diverged", "exploding", "vanishing", "dead", "healthy")


def by_fold(epochs: Sequence[EpochResult]) -> list[list[EpochResult]]:
    """Returns the epochs of each fold; all of them as one where there are no folds."""
    return [list(group) for _, group in itertools.groupby(epochs, lambda epoch: epoch.fold)]


def fold_result(epochs: Sequence[EpochResult], metric: Monitor) -> FoldResult:
    """Returns what a fold's training has brought so far.

    Args:
        epochs: Its epochs, at least one.
        metric: The study's first metric.
    """
    best = next(epoch for epoch in reversed(epochs) if epoch.is_best)
    return FoldResult(
        value=best.metric_value(metric),
        epochs=len(epochs),
        best_epoch=best.epoch,
        best_valid_accuracy=best.valid_accuracy,
        best_valid_loss=best.valid_loss,
        ended=round(epochs[-1].ended, 3),
        phases=phases_of(epochs, metric),
        best_metrics=best.metrics,
    )


def last_flow(epochs: Sequence[EpochResult]) -> tuple[LayerFlow, ...]:
    """Returns what of gradient flow was measured last; nothing if it never was."""
    return next((epoch.gradient_flow for epoch in reversed(epochs) if epoch.gradient_flow), ())


def worst_verdict(epochs: Sequence[EpochResult]) -> Verdict | None:
    """Returns the worst of the folds' verdicts, each by what was measured last in it; None if nothing was measured."""
    if (fold := _worst_fold(epochs)) is None:
        return None
    verdict = judge(last_flow(fold))
    assert verdict is not None
    if not (number := fold[0].fold) or verdict.label == "healthy":
        return verdict
    return Verdict(verdict.label, f"in fold {number}, {verdict.text}")


def mean_epochs(epochs: Sequence[EpochResult]) -> list[EpochResult]:
    """Returns a trial's epochs, with folds the mean of each number's: small enough to be stored, however many folds.

    An epoch that some folds did not come to, since they stopped earlier, is the mean over the others. Gradient flow is
    that of the fold with the worst verdict, which is the trial's. An epoch ends when it does in the last fold.

    Args:
        epochs: All epochs of a trial, fold after fold.
    """
    if not epochs or not epochs[0].fold:
        return list(epochs)
    judged = {epoch.epoch: epoch.gradient_flow for epoch in _worst_fold(epochs) or ()}
    numbered: defaultdict[int, list[EpochResult]] = defaultdict(list)
    for epoch in epochs:
        numbered[epoch.epoch].append(epoch)

    def mean(number: int, same: Sequence[EpochResult]) -> EpochResult:
        measures = [epoch.measures() for epoch in same]
        means: dict[str, Any] = {name: statistics.fmean(each[name] for each in measures) for name in measures[0]}
        metrics = {name: means.pop(name) for name in same[0].metrics}
        ended = max(epoch.ended for epoch in same)
        return replace(same[0], **means, metrics=metrics, gradient_flow=judged.get(number, ()), ended=ended)

    return [mean(number, same) for number, same in sorted(numbered.items())]


def _worst_fold(epochs: Sequence[EpochResult]) -> list[EpochResult] | None:
    """Returns the epochs of the fold with the worst verdict, the first of equals."""
    judged = [(verdict.label, fold) for fold in by_fold(epochs) if (verdict := judge(last_flow(fold))) is not None]
    return min(judged, key=lambda pair: LABELS.index(pair[0]))[1] if judged else None
