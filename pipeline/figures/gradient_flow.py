"""Gradient flow over a training: layers by epochs."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Decades shown below the largest gradient: more are all the same, gone.
DECADES = 12
# Labels of an axis: each costs as much to draw as all the fields.
MAX_LABELS = 10
# In inches: the figure's width, what stands around the fields, a line of the title, the bar of colors.
WIDTH, LEFT, RIGHT, BOTTOM, LINE, BAR = 6.4, 0.85, 1.1, 0.5, 0.18, 0.16
# Characters of the title that fit into a line.
TITLE_WIDTH = 84


def draw_gradient_flow(epochs: Mapping[int, Sequence[float]], title: str) -> "Figure":
    """Draws the gradient with respect to each layer's pre-activations, layers by epochs, on a logarithmic scale.

    In some epochs only upper layers may have learned: below them is nothing.

    Args:
        epochs: From the number of an epoch to its layers' gradients, input first; a shorter list has the upper layers.
        title: What stands above.
    """
    num_layers = max(map(len, epochs.values()))
    largest = max(gradient for epoch in epochs.values() for gradient in epoch)
    ceiling = math.log10(largest) if largest > 0.0 else 0.0
    floor = ceiling - DECADES
    columns = [[math.log10(gradient) if gradient > 0.0 else floor for gradient in e] for e in epochs.values()]
    low = max(min(map(min, columns)), floor)
    columns = [[math.nan] * (num_layers - len(column)) + column for column in columns]
    lines = [line for paragraph in title.split("\n") for line in textwrap.wrap(paragraph, TITLE_WIDTH) or [""]]
    figure, axes, bar_axes = _canvas(min(1.2 + 0.22 * num_layers, 6.0), len(lines))
    rows = [list(row) for row in zip(*columns, strict=True)]
    image = axes.imshow(rows, aspect="auto", cmap="viridis", vmin=min(low, ceiling - 1.0), vmax=ceiling)
    every = math.ceil(num_layers / MAX_LABELS)
    names = [*map(str, range(1, num_layers)), "output"]
    axes.set_yticks(range(0, num_layers, every), names[::every])
    numbers = list(epochs)
    every = math.ceil(len(numbers) / MAX_LABELS)
    axes.set_xticks(range(0, len(numbers), every), [str(number) for number in numbers[::every]])
    axes.set(xlabel="epoch", ylabel="layer")
    axes.set_title("\n".join(lines), fontsize=9, loc="left")
    figure.colorbar(image, cax=bar_axes, label="log10 of the gradient's norm")
    return figure


def _canvas(height: float, num_lines: int) -> "tuple[Figure, Axes, Axes]":
    """Returns a figure, the axes of its fields, and those of the bar of colors.

    Matplotlib's own layout takes as long as to draw the figure: here everything has its place.

    Args:
        height: Of the fields, in inches.
        num_lines: Lines of the title.
    """
    whole = height + BOTTOM + LINE * (num_lines + 0.5)
    figure, axes = new_figure(WIDTH, whole)
    figure.set_layout_engine("none")
    bottom, share = BOTTOM / whole, height / whole
    axes.set_position((LEFT / WIDTH, bottom, 1.0 - (LEFT + RIGHT) / WIDTH, share))
    bar_axes = figure.add_axes((1.0 - (RIGHT - BAR) / WIDTH, bottom, BAR / WIDTH, share))
    return figure, axes, bar_axes
