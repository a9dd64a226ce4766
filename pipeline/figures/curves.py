"""Figures of what the commands find: a range test, an ablation, importances."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_range_test(
    rates: Sequence[float], losses: Sequence[float], suggested: tuple[float, float], title: str
) -> "Figure":
    """Draws the smoothed training loss over the learning rate, and the suggested range.

    Args:
        rates: Learning rates.
        losses: Smoothed losses, in nats.
        suggested: The ends of the range.
        title: What was tested.
    """
    figure, axes = new_figure(6.4, 4.0)
    axes.plot(rates, losses, color=BLUE)
    axes.axvspan(*suggested, color=ORANGE, alpha=0.2, label=f"suggested: {suggested[0]:g} to {suggested[1]:g}")
    bottom = min(losses)
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed (nats)")
    axes.set_ylim(bottom - 0.05 * (losses[0] - bottom), losses[0] + 0.3 * (losses[0] - bottom))
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    return figure


def draw_differences(
    labels: Sequence[str],
    differences: Sequence[Sequence[float]],
    intervals: Sequence[tuple[float, float] | None],
    title: str,
    axis: str,
) -> "Figure":
    """Draws differences paired by seed: a dot for each seed, their mean and its interval.

    Args:
        labels: What was changed.
        differences: For each label, one for each seed.
        intervals: For each label, the 95 % interval of the mean, or None.
        title: What was compared.
        axis: What the differences are of.
    """
    figure, axes = new_figure(7.2, 1.4 + 0.42 * len(labels))
    for row, (values, interval) in enumerate(zip(differences, intervals, strict=True)):
        mean = sum(values) / len(values)
        clear = interval is not None and not interval[0] <= 0.0 <= interval[1]
        axes.plot(values, [row] * len(values), "o", color=GRAY, alpha=0.5, markersize=4)
        if interval is not None:
            axes.plot(interval, [row, row], color=ORANGE if clear else BLUE, linewidth=2)
        axes.plot([mean], [row], "D", color=ORANGE if clear else BLUE, markersize=6)
    axes.axvline(0.0, color="black", linewidth=1)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"{axis}\nbar: 95 % interval of the mean (orange where it leaves out 0); dots: seeds")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_importances(rows: Sequence[tuple[str, float | None, float | None]], title: str) -> "Figure":
    """Draws two importances beside each other for each parameter.

    Args:
        rows: Name, PED-ANOVA's and fANOVA's importance, None where there is none; the first row at the top.
        title: The study.
    """
    figure, axes = new_figure(7.2, 1.3 + 0.42 * len(rows))
    for offset, column, color, label in ((-0.2, 1, BLUE, "PED-ANOVA"), (0.2, 2, ORANGE, "fANOVA")):
        present = [(index + offset, row[column]) for index, row in enumerate(rows) if row[column] is not None]
        axes.barh(
            [index for index, _ in present], [float(v or 0.0) for _, v in present], 0.38, color=color, label=label
        )
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("importance")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(loc="lower right")
    return figure
