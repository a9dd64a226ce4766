"""Gradient flow over a training: layers by epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.figures.canvas import new_figure
from pipeline.records import LayerFlow, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Decades shown below the largest gradient: more are all the same, gone.
DECADES = 12
# Layer labels that fit.
MAX_LABELS = 20


def draw_gradient_flow(epochs: Mapping[int, Sequence[LayerFlow]], title: str, verdict: Verdict | None) -> "Figure":
    """Draws the gradient with respect to each layer's pre-activations, on a logarithmic scale.

    In some epochs only upper layers may have learned: below them is nothing.

    Args:
        epochs: From the number of an epoch in which something was measured to its layers, input first.
        title: The trial's name.
        verdict: What is said of it.
    """
    layers = max(epochs.values(), key=len)
    largest = max(layer.gradient for epoch in epochs.values() for layer in epoch)
    ceiling = math.log10(largest) if largest > 0.0 else 0.0
    floor = ceiling - DECADES
    columns = [[math.log10(layer.gradient) if layer.gradient > 0.0 else floor for layer in e] for e in epochs.values()]
    low = max(min(map(min, columns)), floor)
    columns = [[math.nan] * (len(layers) - len(column)) + column for column in columns]
    figure, axes = new_figure(6.4, min(2.2 + 0.22 * len(layers), 7.0))
    rows = [list(row) for row in zip(*columns, strict=True)]
    image = axes.imshow(rows, aspect="auto", cmap="viridis", vmin=min(low, ceiling - 1.0), vmax=ceiling)
    every = math.ceil(len(layers) / MAX_LABELS)
    names = [str(layer.layer) for layer in layers[:-1]] + ["output"]
    axes.set_yticks(range(0, len(layers), every), names[::every])
    numbers = list(epochs)
    every = math.ceil(len(numbers) / MAX_LABELS)
    axes.set_xticks(range(0, len(numbers), every), [str(number) for number in numbers[::every]])
    axes.set(xlabel="epoch", ylabel="layer")
    said = "" if verdict is None else f"\n{verdict.word}: {verdict.text}"
    axes.set_title(f"{title}{said}", fontsize=9, loc="left", wrap=True)
    figure.colorbar(image, label="log10 of the gradient's norm")
    return figure
