"""Figures over the epochs of a study's trials: what they learned, and at which rate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, PURPLE, new_figure, use_decades
from pipeline.figures.svg import set_tooltip
from pipeline.figures.values import PlottedTrial, focus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The best trials' colors, the best one first.
BEST_COLORS = (ORANGE, BLUE, PURPLE)


def draw_learning_curves(
    trials: Sequence[PlottedTrial], best: Sequence[PlottedTrial], measure: str, *, maximize: bool
) -> "Figure":
    """Draws a measure over the epochs of all trials: gray where they did not complete, the best ones highlighted.

    Args:
        trials: Trials that have curves, at least one.
        best: Some of them, the best first; as many as there are colors are highlighted.
        measure: Its name among the curves.
        maximize: Whether larger is better.
    """
    figure, axes = new_figure(11.0, 4.4)
    highlighted = {trial.number: color for trial, color in zip(best, BEST_COLORS, strict=False)}
    lines = {}
    for trial in trials:
        values = trial.curves[measure]
        is_complete = trial.outcome == "complete"
        (line,) = axes.plot(
            range(1, len(values) + 1),
            values,
            color=highlighted.get(trial.number, BLUE if is_complete else GRAY),
            linewidth=2.4 if trial.number in highlighted else 0.9,
            alpha=1.0 if trial.number in highlighted else 0.35,
            zorder=3 if trial.number in highlighted else 2,
            marker="." if len(values) == 1 else None,
            label=trial.name,
        )
        set_tooltip(line, trial.label)
        lines[trial.number] = line
    low, high = focus([value for trial in trials for value in trial.curves[measure]], maximize=maximize)
    axes.set(ylabel=measure, ylim=(low, high))
    _count_epochs(axes)
    if highlighted:
        handles = [lines[number] for number in highlighted]
        axes.legend(handles=handles, loc="lower right" if maximize else "upper right", fontsize=9)
    return figure


def draw_rates(trials: Sequence[PlottedTrial]) -> "Figure":
    """Draws the learning rate at the end of each epoch.

    Args:
        trials: Trials that have curves, the best first, as many as there are colors.
    """
    figure, axes = new_figure(11.0, 3.2)
    for trial, color in zip(trials, BEST_COLORS, strict=False):
        rates = trial.curves["lr"]
        (line,) = axes.plot(range(1, len(rates) + 1), rates, color=color, marker=".", label=trial.name)
        set_tooltip(line, trial.name)
    rates = [rate for trial in trials for rate in trial.curves["lr"]]
    if min(rates) > 0.0 and max(rates) > 20.0 * min(rates):
        use_decades(axes, "y")
    axes.set_ylabel("learning rate")
    _count_epochs(axes)
    axes.legend(fontsize=9)
    return figure


def _count_epochs(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
