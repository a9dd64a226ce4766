"""Figures of what a study came to: its final result, and the time that it took."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, new_figure
from pipeline.figures.svg import set_tooltip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More classes than this have no room for numbers in the cells.
MOST_NUMBERED = 20
# More than this have none for names either.
MOST_NAMED = 40


def draw_estimates(rows: Sequence[tuple[str, float, tuple[float, float] | None, bool]], axis: str) -> "Figure":
    """Draws values with their intervals below each other.

    Args:
        rows: Label, value, its 95 % interval if there is one, and whether it is the one that counts.
        axis: What the values are.
    """
    figure, axes = new_figure(9.6, 1.1 + 0.38 * len(rows))
    for row, (_, value, interval, counts) in enumerate(rows):
        color = ORANGE if counts else BLUE
        if interval is not None:
            axes.plot(interval, [row, row], color=color, linewidth=2)
        (point,) = axes.plot(value, row, "D", color=color, markersize=6)
        set_tooltip(point, f"{value:.4f}" + ("" if interval is None else f" ({interval[0]:.4f} to {interval[1]:.4f})"))
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{axis}; bars: 95 % intervals")
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> "Figure":
    """Draws how often each class was taken for each other one, as shares of the class's images.

    Args:
        counts: Images, a row for each true class, a column for each predicted one.
        names: The classes.
    """
    size = min(1.8 + 0.4 * len(names), 10.0)
    figure, axes = new_figure(size + 1.0, size)
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    # The square root shows the few mistakes beside the many that are right.
    axes.pcolormesh([[share**0.5 for share in row] for row in shares], cmap="Blues", vmin=0.0, vmax=1.0)
    if len(names) <= MOST_NUMBERED:
        for true, row in enumerate(counts):
            for predicted, count in enumerate(row):
                color = "#fdfdfd" if shares[true][predicted] > 0.3 else "#222222"
                if count:
                    axes.text(
                        predicted + 0.5, true + 0.5, str(count), ha="center", va="center", color=color, fontsize=8
                    )
    if len(names) <= MOST_NAMED:
        places = [index + 0.5 for index in range(len(names))]
        axes.set_xticks(places, names, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="predicted", ylabel="true class")
    axes.set_aspect("equal")
    return figure


def draw_time(rows: Sequence[tuple[str, float]], saved: float, unit: str) -> "Figure":
    """Draws how long trials took, by how they ended, and what pruning spared.

    Args:
        rows: Outcome, time.
        saved: The time that was spared; 0 if nothing was pruned.
        unit: Of the times.
    """
    figure, axes = new_figure(8.4, 1.0 + 0.4 * (len(rows) + 1))
    labels = [label for label, _ in rows]
    bars = [axes.barh(range(len(rows)), [time for _, time in rows], 0.6, color=BLUE)]
    if saved:
        bars.append(axes.barh(len(rows), saved, 0.6, color="none", edgecolor=GRAY, hatch="///"))
        labels.append("saved by pruning")
    for group in bars:
        axes.bar_label(group, fmt="%.1f", padding=4, fontsize=9)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)  # the first one at the top
    axes.margins(x=0.12)
    axes.set_xlabel(unit)
    axes.grid(axis="x", alpha=0.3)
    return figure
