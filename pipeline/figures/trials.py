"""Figures of a study's trials: their values in turn, against a setting, and two metrics against each other."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, PURPLE, new_figure, use_decades
from pipeline.figures.svg import set_tooltip
from pipeline.figures.values import Axis, PlottedTrial, best_so_far, focus, spread
from pipeline.records.results import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How each outcome looks: color, marker.
LOOKS: dict[Outcome, tuple[str, str]] = {
    "complete": (BLUE, "o"),
    "pruned": (GRAY, "v"),
    "diverged": (PURPLE, "X"),
    "failed": ("black", "x"),
}


def draw_history(trials: Sequence[PlottedTrial], metric: str, *, maximize: bool) -> "Figure":
    """Draws every trial's value over its number, and the best one so far.

    What has no value, or one far from all others, lies on the edge.

    Args:
        trials: In the order of their numbers, at least one.
        metric: What the value is.
        maximize: Whether larger is better.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(11.0, 3.8)
    values = [trial.value for trial in trials if trial.value is not None]
    low, high = focus(values, maximize=maximize) if values else (0.0, 1.0)
    edge = low if maximize else high
    for trial in trials:
        value = edge if trial.value is None else min(max(trial.value, low), high)
        color, marker = LOOKS[trial.outcome]
        (point,) = axes.plot(trial.number, value, marker, color=color, markersize=6, clip_on=False)
        set_tooltip(point, trial.label)
    if best := best_so_far(trials, maximize=maximize):
        numbers, bests = [number for number, _ in best], [value for _, value in best]
        axes.step([*numbers, trials[-1].number], [*bests, bests[-1]], where="post", color=ORANGE, zorder=1)
    axes.set(xlabel="trial", ylabel=metric, ylim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not values:
        axes.set_yticks([])
    axes.grid(alpha=0.3)
    _name_outcomes(axes, trials, has_best=bool(best))
    return figure


def draw_slice(trials: Sequence[PlottedTrial], axis: Axis, limits: tuple[float, float]) -> "Figure":
    """Draws trials' values over a setting.

    Args:
        trials: They have the setting; those without a value are left out.
        axis: The setting.
        limits: The ends of the values' axis; values beyond them lie on it.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(3.1, 2.3)
    low, high = limits
    for outcome, (color, marker) in LOOKS.items():
        points = [
            (
                axis.coordinate(trial.settings[axis.name]) + (0.6 * spread(trial.number) if axis.options else 0.0),
                min(max(trial.value, low), high),
            )
            for trial in trials
            if trial.outcome == outcome and trial.value is not None
        ]
        axes.plot([x for x, _ in points], [y for _, y in points], marker, color=color, markersize=3.5, alpha=0.8)
    if axis.log:
        use_decades(axes, "x")
    if axis.whole and not axis.log:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axis.options:
        is_long = sum(map(len, axis.options)) > 26
        axes.set_xticks(
            range(len(axis.options)), axis.options, rotation=40 if is_long else 0, ha="right" if is_long else "center"
        )
        axes.set_xlim(-0.6, len(axis.options) - 0.4)
    axes.set_ylim(low, high)
    axes.set_title(axis.name, loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return figure


def draw_front(
    trials: Sequence[PlottedTrial], front: Collection[int], x: tuple[int, str], y: tuple[int, str]
) -> "Figure":
    """Draws two metrics of the complete trials against each other, and which of them nothing beats in all metrics.

    Args:
        trials: At least one is complete.
        front: Numbers of the trials of the Pareto front.
        x: Place of a metric among the trial's values, and its name.
        y: The same of another one.
    """
    figure, axes = new_figure(6.8, 4.2)
    complete = [trial for trial in trials if trial.outcome == "complete"]
    for trial in complete:
        is_front = trial.number in front
        color, marker = (ORANGE, "D") if is_front else (BLUE, "o")
        (point,) = axes.plot(
            trial.values[x[0]], trial.values[y[0]], marker, color=color, alpha=1.0 if is_front else 0.6
        )
        set_tooltip(point, trial.label)
    steps = sorted((trial.values[x[0]], trial.values[y[0]]) for trial in complete if trial.number in front)
    axes.plot([step[0] for step in steps], [step[1] for step in steps], color=ORANGE, linewidth=1, zorder=1)
    if (least := min(trial.values[x[0]] for trial in complete)) > 0 and steps and steps[-1][0] > 20 * least:
        use_decades(axes, "x")
    axes.set(xlabel=x[1], ylabel=y[1])
    axes.grid(alpha=0.3)
    return figure


def _name_outcomes(axes: "Axes", trials: Sequence[PlottedTrial], *, has_best: bool) -> None:
    """Adds a legend of the outcomes that occur."""
    from matplotlib.lines import Line2D

    present = {trial.outcome for trial in trials}
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="none", label=outcome)
        for outcome, (color, marker) in LOOKS.items()
        if outcome in present
    ]
    if has_best:
        handles.append(Line2D([], [], color=ORANGE, label="best so far"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=5, frameon=False, fontsize=9)
