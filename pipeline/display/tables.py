"""What commands print as tables: the leaderboard, finalists, an ablation, importances."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipeline.analysis.ablation import FULL, Row
from pipeline.analysis.importance import Importance
from pipeline.evaluation.intervals import Interval
from pipeline.records.final import Final
from pipeline.report.final_text import interval_text
from pipeline.study.leaderboard import Entry, differences, epochs_text, metric_text

# Rows of a table of classes: a screen.
MAX_CLASSES = 30


def leaderboard_table(study: str, metrics: Sequence[str], entries: Sequence[Entry]) -> Table:
    """Returns the leaderboard as a table for the terminal.

    Args:
        study: The study's name.
        metrics: Its metrics; with several, those trials are marked that no other one dominates.
        entries: The trials.
    """
    cells = differences(entries)
    blocks = list(cells[0]) if cells else []
    board = Table(title=f"{study}: the best {len(entries)} trials, and what differs", title_justify="left")
    figures = list(dict.fromkeys([*metrics, "num_parameters"]))
    for name in ("trial", *(["front"] if len(metrics) > 1 else []), *figures, "epoch", "seconds"):
        board.add_column(name.removeprefix("num_"), justify="right", no_wrap=True)
    for block in blocks:
        board.add_column(block)
    for entry, cell in zip(entries, cells, strict=True):
        result = entry.result
        row = [str(entry.number), *(["*" if entry.is_pareto_optimal else ""] if len(metrics) > 1 else [])]
        row += [metric_text(result, name) for name in figures]
        row += [epochs_text(result), f"{result.seconds:.1f}"]
        board.add_row(*row, *(cell[block] for block in blocks))
    return board


def class_table(classes: Sequence[Mapping[str, Any]]) -> Table:
    """Returns how well each class is told, as a table for the terminal; of many classes the worst.

    Args:
        classes: Each one's name, images, recall, precision and f1, as `train_and_test` returns them.
    """
    worst = sorted(classes, key=lambda one: 2.0 if one["f1"] is None else one["f1"])[:MAX_CLASSES]
    shown = classes if len(classes) <= MAX_CLASSES else worst
    title = "each class" if shown is classes else f"the {MAX_CLASSES} classes with the lowest F1, of {len(classes):,}"
    table = Table(title=title, title_justify="left")
    table.add_column("class")
    for column in ("images", "recall", "precision", "F1"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in shown:
        shares = ("" if one[name] is None else f"{one[name]:.4f}" for name in ("recall", "precision", "f1"))
        table.add_row(escape(one["name"]), f"{one['images']:,}", *shares)
    return table


def confusion_lines(confusions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Writes the largest confusions, as `train_and_test` returns them."""
    if confusions:
        yield "the largest confusions:"
    for one in confusions:
        share = f"{one['images']:,} images, {one['share']:.1%} of the class"
        yield f"  - {one['label']} taken for {one['predicted']}: {share}"


def ablation_table(name: str, found: Sequence[Row]) -> Table:
    """Returns the rows as a table for the terminal."""
    num_seeds = max((len(row.values) for row in found), default=0)
    table = Table(title=f"{name}: each technique switched off, alone; {num_seeds} seeds", title_justify="left")
    table.add_column("switched off", no_wrap=True)
    for column in ("valid_accuracy", "95 % interval", "difference", "95 % interval, paired", "seconds", "epochs"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found:
        mean = "" if row.mean is None else f"{row.mean:.4f}"
        difference, paired = ("", "") if row.case == FULL else _difference_texts(row)
        label = row.case if row.case != FULL else "nothing (full)"
        label += f" ({row.diverged} diverged)" if row.diverged else ""
        times = f"{row.seconds:.1f}", f"{row.epochs:.1f}"
        table.add_row(label, mean, _spread_text(row.interval, row.values.values(), ".4f"), difference, paired, *times)
    return table


def _difference_texts(row: Row) -> tuple[str, str]:
    """Writes the mean difference and how far it can be trusted."""
    if row.difference is None:
        return "", ""
    if not any(row.differences.values()):  # the technique did nothing: that is no estimate
        return "0", "equal with every seed"
    spread = _spread_text(row.difference_interval, row.differences.values(), "+.4f")
    return f"{row.difference:+.4f}", spread


def _spread_text(interval: Interval | None, values: Iterable[float], spec: str) -> str:
    """Writes an interval, or the values where they are too few for one."""
    if interval is None:
        return ", ".join(f"{value:{spec}}" for value in values)
    return f"{interval[0]:{spec}} to {interval[1]:{spec}}"


def importance_table(study: str, rows: Sequence[Importance]) -> Table:
    """Returns importances as a table for the terminal."""
    table = Table(title=f"{study}: what mattered, of {max(row.trials for row in rows)} complete trials")
    table.title_justify = "left"
    table.add_column("parameter")
    for name in ("PED-ANOVA", "fANOVA", "trials"):
        table.add_column(name, justify="right")
    table.add_column("only if")
    for row in rows:
        fanova = "" if row.fanova is None else f"{row.fanova:.3f}"
        table.add_row(row.parameter, f"{row.ped_anova:.3f}", fanova, str(row.trials), row.condition or "")
    return table


def finalists_table(final: Final) -> Table:
    """Returns the finalists as a table, the chosen one first."""
    num_seeds = max(len(finalist.values) for finalist in final.finalists)
    table = Table(title=f"{final.study}: the finalists over {num_seeds} fresh seeds, {final.metric}")
    table.title_justify = "left"
    for name in ("trial", "in the study", "mean", "95 % interval", "by seed"):
        table.add_column(name, justify="left" if name == "by seed" else "right", no_wrap=name != "by seed")
    for finalist in final.finalists:
        mean = "diverged" if finalist.mean is None else f"{finalist.mean:.4f}"
        values = " ".join(f"{value:.4f}" for value in finalist.values.values())
        table.add_row(
            str(finalist.trial), f"{finalist.study_value:.4f}", mean, interval_text(finalist.interval), values
        )
    return table
