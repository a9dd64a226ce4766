"""The table and the figure of docs/: test accuracy by method and number of training images."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.transfer.methods import METHODS
from pipeline.figures.canvas import BLUE, GRAY, ORANGE, new_figure, save

# Test accuracies of the seeds, by method and number of training images.
Results = Mapping[tuple[str, int], Sequence[float]]

FIGURE = Path(__file__).parents[2] / "docs" / "transfer.png"
# One for each method.
STYLES = ((BLUE, "o"), (ORANGE, "s"), (GRAY, "D"))


def table(results: Results, *, sizes: Sequence[int], num_seeds: int) -> Iterator[str]:
    """Yields the lines of a table in Markdown.

    Args:
        results: What was measured.
        sizes: Numbers of training images.
        num_seeds: Seeds of each cell.
    """
    yield f"Test accuracy on Fashion-MNIST by number of training images: mean (smallest to largest), n = {num_seeds}.\n"
    yield f"| method | {' | '.join(f'{size:,} images' for size in sizes)} |"
    yield f"| --- |{' --- |' * len(sizes)}"
    for method, words in METHODS.items():
        cells = [_cell(results.get((method, size), []), num_seeds) for size in sizes]
        yield f"| {words} | {' | '.join(cells)} |"


def draw(results: Results, *, sizes: Sequence[int], num_seeds: int, image_size: int) -> None:
    """Draws accuracy over the number of training images, a line for each method, into docs/.

    Args:
        results: What was measured.
        sizes: Numbers of training images.
        num_seeds: Seeds of each cell.
        image_size: Height and width in pixels that the backbone's images had.
    """
    figure, axes = new_figure(7.2, 4.8)
    for (method, words), (color, marker) in zip(METHODS.items(), STYLES, strict=True):
        there = [size for size in sizes if results.get((method, size))]
        values = [results[method, size] for size in there]
        axes.plot(there, [statistics.fmean(each) for each in values], color=color, marker=marker, label=words)
        axes.fill_between(there, [min(each) for each in values], [max(each) for each in values], color=color, alpha=0.2)
    axes.set(xscale="log", xlabel="training images", ylabel="test accuracy")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title(
        f"Fashion-MNIST: pretrained at {image_size} pixels, or from scratch\n"
        f"mean of up to {num_seeds} seeds; band: smallest to largest",
        loc="left",
        fontsize=10,
    )
    axes.legend(loc="lower right")
    save(figure, FIGURE)


def _cell(values: Sequence[float], num_seeds: int) -> str:
    if not values:
        return "not measured"
    fewer = "" if len(values) == num_seeds else f"; n = {len(values)}"
    return f"{statistics.fmean(values):.4f} ({min(values):.4f} to {max(values):.4f}{fewer})"
