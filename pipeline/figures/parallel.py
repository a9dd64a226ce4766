"""Parallel coordinates: a line for each trial, through what was drawn for it to what it reached."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, PURPLE, new_figure
from pipeline.figures.svg import set_tooltip
from pipeline.figures.values import Axis, PlottedTrial, focus, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Where lines pass an axis that their trial has no setting on, below its low end.
NOT_USED = -0.16


def draw_parallel(trials: Sequence[PlottedTrial], axes_: Sequence[Axis], metric: str, *, maximize: bool) -> "Figure":
    """Draws trials as lines through their settings, colored by their value; those that did not complete are gray.

    A trial passes below an axis whose setting it does not have.

    Args:
        trials: At least one has a value.
        axes_: The settings, from left to right.
        metric: What the value is.
        maximize: Whether larger is better.
    """
    from matplotlib.colors import LinearSegmentedColormap

    ends = focus([trial.value for trial in trials if trial.value is not None], maximize=maximize)
    last = Axis(metric, *ends)
    figure, axes = new_figure(max(5.0, 1.8 + 0.6 * len(axes_)), 5.2)
    better = LinearSegmentedColormap.from_list("better", [BLUE, PURPLE, ORANGE])
    best_last = sorted(trials, key=lambda trial: (trial.outcome == "complete", _rank(trial, maximize=maximize)))
    for trial in best_last:
        heights = [_height(trial, axis) for axis in axes_]
        heights.append(NOT_USED if trial.value is None else last.share(trial.value))
        is_complete = trial.outcome == "complete" and trial.value is not None
        share = heights[-1] if maximize else 1.0 - heights[-1]
        is_best = is_complete and trial is best_last[-1]
        (line,) = axes.plot(
            heights,
            color=better(share) if is_complete else GRAY,
            linewidth=2.6 if is_best else 1.1,
            alpha=1.0 if is_best else 0.75 if is_complete else 0.35,
        )
        set_tooltip(line, trial.label)
    for index, axis in enumerate([*axes_, last]):
        _draw_axis(axes, index, axis)
        if axis is not last and any(axis.name not in trial.settings for trial in trials):
            axes.plot(index, NOT_USED, "o", color="black", markerfacecolor="white", markersize=5)
            axes.text(index, NOT_USED - 0.05, "not used", fontsize=7, ha="center", va="top")
    axes.set_xlim(-0.5, len(axes_) + 0.75)
    axes.set_ylim(NOT_USED - 0.08, 1.04)
    axes.set_axis_off()
    return figure


def _rank(trial: PlottedTrial, *, maximize: bool) -> float:
    """Returns a number that is larger for a better trial."""
    if trial.value is None:
        return float("-inf")
    return trial.value if maximize else -trial.value


def _height(trial: PlottedTrial, axis: Axis) -> float:
    if axis.name not in trial.settings:
        return NOT_USED + 0.04 * spread(trial.number)
    share = axis.share(trial.settings[axis.name])
    return share + 0.25 * spread(trial.number) / len(axis.options) ** 2 if len(axis.options) > 1 else share


def _draw_axis(axes: "Axes", index: int, axis: Axis) -> None:
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    axes.plot([index, index], [0.0, 1.0], color="black", linewidth=1)
    axes.text(index, 1.06, axis.short_name, rotation=38, fontsize=9, ha="left", va="bottom")
    for coordinate, label in axis.ticks():
        axes.text(index + 0.07, axis.share_of(coordinate), label, fontsize=7.5, va="center", bbox=halo)
