"""A figure as SVG inside a web page: it takes the page's colors and font, and says what it shows.

matplotlib leaves black out where it is SVG's default, so black is the page's ink, and white its paper. A page sets its
paper and the data's colors as CSS variables, and so has all of them readable in light and dark.
"""

import io
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, PURPLE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# From matplotlib's colors to the page's.
COLORS = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper, #ffffff)",
    **{
        color.lower(): f"var(--{name}, {color})"
        for name, color in {"blue": BLUE, "orange": ORANGE, "gray": GRAY, "purple": PURPLE}.items()
    },
}
# What an artist's id begins with if the rest is said when a mouse rests on it.
TIP = "tip:"
# SVG counts points of 1/72 inch, a page pixels of 1/96.
PIXELS_PER_POINT = 96 / 72


@dataclass(frozen=True)
class Drawing:
    """A figure on a page.

    Attributes:
        svg: The element.
        caption: What is said below it.
    """

    svg: str
    caption: str


def set_tooltip(artist: "Artist", text: str) -> None:
    """Has a web page show a text while the mouse rests on an artist."""
    artist.set_gid(TIP + text)


def svg(figure: "Figure", name: str, description: str) -> str:
    """Returns a figure as an SVG element: the same bytes for the same figure.

    Args:
        figure: The figure. Black in it becomes the page's color of text, white that of its background.
        name: Another one for each figure of a page: their elements' ids begin with it.
        description: What it shows, for those who cannot see it.
    """
    import matplotlib

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(rf"<g id=([\"']){TIP}(.*?)\1>", r"<g><title>\2</title>", text)
    text = _with_own_ids(text, name)
    text = re.sub("#[0-9a-f]{6}", lambda color: COLORS.get(color[0], color[0]), text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)  # the page's
    text = re.sub(r"\s*\n\s*", "\n", text)
    return re.sub("<svg[^>]*>", lambda opening: _opening(opening[0], description), text, count=1).strip()


def drawing(figure: "Figure", name: str, description: str, caption: str) -> Drawing:
    """Returns a figure with its caption; the rest as in `svg`."""
    return Drawing(svg(figure, name, description), caption)


def _with_own_ids(text: str, name: str) -> str:
    """Drops the ids that nothing refers to; puts the figure's name before the others."""
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    return re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)


def _opening(tag: str, description: str) -> str:
    """Returns the tag that begins the element, with the size that the figure has on a page."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', tag)
    assert box is not None
    width, height = (round(float(size) * PIXELS_PER_POINT) for size in box.groups())
    label = escape(description)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} width="{width}" '
        f'height="{height}" fill="currentColor" role="img" aria-label="{label}">'
    )
