"""A figure without a window, and its file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.core.errors import DnntuneError
from pipeline.core.filesystem.files import reason, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of Okabe and Ito's palette, which people with color blindness can tell apart.
BLUE, ORANGE, GRAY, PURPLE = "#0072B2", "#D55E00", "#777777", "#CC79A7"
ENDINGS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """Returns a figure of a size in inches, and its axes."""
    from matplotlib.figure import Figure  # not pyplot: it keeps figures, and takes twice as long to import

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.subplots()


def use_decades(axes: "Axes", which: Literal["x", "y"]) -> None:
    """Makes an axis logarithmic, with plain numbers on it, such as 0.001."""
    from matplotlib.ticker import NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, index: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def png(figure: "Figure") -> bytes:
    """Returns a figure as a PNG file's bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    # Not savefig, which goes through everything twice.
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def check_figure_path(path: Path) -> None:
    """Checks that a figure can be written there, before anything long begins.

    Raises:
        DnntuneError: It has an ending of no known format.
    """
    if path.suffix not in ENDINGS:
        raise DnntuneError(f"a figure's file ends in {', '.join(ENDINGS)}; got {path}")


def save(figure: "Figure", path: Path) -> None:
    """Writes a figure to a file whose ending says the format; folders are made.

    Raises:
        DnntuneError: It cannot be written.
    """
    check_figure_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        figure.savefig(content, format=path.suffix.removeprefix("."))
        write_whole(path, content.getbuffer())
    except OSError as error:
        raise DnntuneError(f"{path}: cannot be written: {reason(error)}") from None
