"""The tables of a report: words, ready to be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.final_text import interval_text, share, values_text
from pipeline.report.headline import format_number, metrics_rows
from pipeline.report.spending import time_text
from pipeline.study.leaderboard import epochs_text, format_metric, metric_text

if TYPE_CHECKING:
    from pipeline.records.final import Final
    from pipeline.report.data import ReportData

NONE = "-"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: The columns' names.
        numbers: Those of them that hold numbers.
        rows: The cells.
        first_counts: Whether the first row is the one that was chosen.
    """

    head: tuple[str, ...]
    numbers: frozenset[str]
    rows: tuple[tuple[str, ...], ...]
    first_counts: bool = False


def tables(data: "ReportData") -> dict[str, Table]:
    """Returns the tables that a study has something for, by name."""
    found = {"leaderboard": _leaders(data), "failures": _failures(data), "time": _time(data)}
    if data.final is not None:
        found |= {
            "metrics": _metrics(data.final),
            "finalists": _finalists(data.final),
            "classes": _classes(data.final),
            "speed": _speed(data.final),
        }
    return {name: table for name, table in found.items() if table.rows}


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Sequence[str], first_counts: bool = False
) -> Table:
    """Returns a table all of whose columns hold numbers, but for those that hold words."""
    return Table(tuple(head), frozenset(head) - frozenset(text_columns), tuple(map(tuple, rows)), first_counts)


def _leaders(data: "ReportData") -> Table:
    blocks = list(data.differences[0]) if data.differences else []
    several = len(data.metrics) > 1
    rows = []
    for entry, differing in zip(data.leaders, data.differences, strict=True):
        result = entry.result
        values = [metric_text(result, metric) for metric in data.metrics]
        size = format_metric("num_parameters", result.num_parameters)
        cells = [str(entry.number), *values, epochs_text(result), time_text(result.seconds)]
        cells.append(size if not several else "on the front" if entry.is_pareto_optimal else "")
        rows.append([*cells, *(differing[block] for block in blocks)])
    head = ["trial", *data.metrics, "best epoch", "time", "trade-off" if several else "parameters", *blocks]
    return _table(head, rows, text_columns=blocks, first_counts=True)


def _failures(data: "ReportData") -> Table:
    rows = [(str(failure.number), failure.name, failure.outcome, failure.reason) for failure in data.failures]
    return _table(["trial", "name", "outcome", "reason"], rows, text_columns=["name", "outcome", "reason"])


def _time(data: "ReportData") -> Table:
    rows = [
        (outcome, str(data.outcomes[outcome]), time_text(seconds), time_text(seconds / data.outcomes[outcome]))
        for outcome, seconds in data.spent.seconds.items()
    ]
    return _table(["outcome", "trials", "together", "a trial"], rows, text_columns=["outcome"])


def _metrics(final: "Final") -> Table:
    rows = [
        (
            row.label,
            format_number(row.metrics.accuracy),
            interval_text(row.metrics.interval),
            format_number(row.metrics.log_likelihood),
            format_number(row.metrics.calibration_error),
            f"{row.num_parameters or final.num_parameters:,}",
        )
        for row in metrics_rows(final)
    ]
    head = ["classified by", "accuracy", "95 % interval", "log-likelihood", "calibration error", "parameters"]
    return _table(head, rows, text_columns=head[:1], first_counts=True)


def _finalists(final: "Final") -> Table:
    rows = [
        (
            str(finalist.trial),
            format_number(finalist.study_value),
            NONE if finalist.mean is None else format_number(finalist.mean),
            interval_text(finalist.interval) or values_text(finalist.values.values()) or NONE,
            str(len(finalist.values)),
        )
        for finalist in final.finalists
    ]
    return _table(
        ["trial", "in the study", "mean", "95 % interval, or values", "new seeds"],
        rows,
        text_columns=[],
        first_counts=True,
    )


def _classes(final: "Final") -> Table:
    rows = [
        (one.name, f"{one.images:,}", share(one.precision), share(one.recall), share(one.f1)) for one in final.classes
    ]
    return _table(["class", "images", "precision", "recall", "F1"], rows, text_columns=["class"])


def _speed(final: "Final") -> Table:
    rows = [
        (str(speed.batch_size), f"{speed.latency_ms:.3g}", f"{speed.images_per_second:,.0f}") for speed in final.speed
    ]
    return _table(["images at once", "milliseconds", "images a second"], rows, text_columns=[])
