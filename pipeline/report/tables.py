"""The tables of a report: words, ready to be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.answer import number, worths
from pipeline.report.final_text import interval_text, share, values_text
from pipeline.report.spending import time_text
from pipeline.study.leaderboard import figure_text

if TYPE_CHECKING:
    from pipeline.records.final import Final
    from pipeline.report.data import Facts

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


def tables(facts: "Facts") -> dict[str, Table]:
    """Returns the tables that a study has something for, by name."""
    found = {"leaderboard": _leaders(facts), "failures": _failures(facts), "time": _time(facts)}
    if facts.final is not None:
        found |= {
            "worths": _worths(facts.final),
            "finalists": _finalists(facts.final),
            "classes": _classes(facts.final),
            "speed": _speed(facts.final),
        }
    return {name: table for name, table in found.items() if table.rows}


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[str], first_counts: bool = False
) -> Table:
    """Returns a table all of whose columns hold numbers, but for those that hold words."""
    return Table(tuple(head), frozenset(head) - frozenset(words), tuple(map(tuple, rows)), first_counts)


def _leaders(facts: "Facts") -> Table:
    blocks = list(facts.differences[0]) if facts.differences else []
    several = len(facts.metrics) > 1
    rows = []
    for entry, differing in zip(facts.leaders, facts.differences, strict=True):
        result = entry.result
        values = [figure_text(metric, result.figure(metric)) for metric in facts.metrics]
        size = figure_text("num_parameters", result.num_parameters)
        figures = [str(entry.number), *values, f"{result.best_epoch} of {result.epochs}", time_text(result.seconds)]
        figures.append(size if not several else "on the front" if entry.on_front else "")
        rows.append([*figures, *(differing[block] for block in blocks)])
    head = ["trial", *facts.metrics, "best epoch", "time", "trade-off" if several else "parameters", *blocks]
    return _table(head, rows, words=blocks, first_counts=True)


def _failures(facts: "Facts") -> Table:
    rows = [(str(failure.number), failure.name, failure.outcome, failure.reason) for failure in facts.failures]
    return _table(["trial", "name", "outcome", "reason"], rows, words=["name", "outcome", "reason"])


def _time(facts: "Facts") -> Table:
    rows = [
        (outcome, str(facts.outcomes[outcome]), time_text(seconds), time_text(seconds / facts.outcomes[outcome]))
        for outcome, seconds in facts.spent.seconds.items()
    ]
    return _table(["outcome", "trials", "together", "a trial"], rows, words=["outcome"])


def _worths(final: "Final") -> Table:
    rows = [
        (
            worth.label,
            number(worth.measured.accuracy),
            interval_text(worth.measured.interval),
            number(worth.measured.log_likelihood),
            number(worth.measured.calibration_error),
            f"{worth.num_parameters or final.num_parameters:,}",
        )
        for worth in worths(final)
    ]
    head = ["classified by", "accuracy", "95 % interval", "log-likelihood", "calibration error", "parameters"]
    return _table(head, rows, words=head[:1], first_counts=True)


def _finalists(final: "Final") -> Table:
    rows = [
        (
            str(finalist.trial),
            number(finalist.study_value),
            NONE if finalist.mean is None else number(finalist.mean),
            interval_text(finalist.interval) or values_text(finalist.values.values()) or NONE,
            str(len(finalist.values)),
        )
        for finalist in final.finalists
    ]
    return _table(
        ["trial", "in the study", "mean", "95 % interval, or values", "new seeds"], rows, words=[], first_counts=True
    )


def _classes(final: "Final") -> Table:
    rows = [(one.name, f"{one.images:,}", share(one.precision), share(one.recall)) for one in final.classes]
    return _table(["class", "images", "precision", "recall"], rows, words=["class"])


def _speed(final: "Final") -> Table:
    rows = [
        (str(speed.batch_size), f"{speed.latency_ms:.3g}", f"{speed.images_per_second:,.0f}") for speed in final.speed
    ]
    return _table(["images at once", "milliseconds", "images a second"], rows, words=[])
