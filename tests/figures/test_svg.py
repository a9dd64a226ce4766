"""Figures as SVG inside a page."""

import re
import xml.etree.ElementTree as ElementTree

from matplotlib.figure import Figure

from pipeline.figures.canvas import BLUE, GRAY, new_figure
from pipeline.figures.svg import set_tooltip, svg


def figure() -> Figure:
    drawn, axes = new_figure(4.0, 2.0)
    (line,) = axes.plot([0, 1], [0, 1], "o-", color=BLUE, label="line")
    set_tooltip(line, 'trial 1: "a" < b & c')
    axes.bar([0.5], [0.5], hatch="//", color="none", edgecolor=GRAY)
    axes.legend()
    axes.set_xlabel("epoch")
    return drawn


def test_the_same_figure_is_the_same_bytes() -> None:
    assert svg(figure(), "one", "a line") == svg(figure(), "one", "a line")


def test_it_is_one_element_with_a_size_and_a_description() -> None:
    root = ElementTree.fromstring(svg(figure(), "one", 'a "line" & a bar'))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "line" & a bar')
    assert (root.get("width"), root.get("height")) == ("384", "192")


def test_text_and_axes_take_the_color_of_the_page() -> None:
    text = svg(figure(), "one", "")
    assert "#000000" not in text
    assert text.count("#ffffff") == text.count("var(--paper, #ffffff)") > 0
    assert "currentColor" in text
    assert 'fill="currentColor"' in text[: text.index(">")]
    assert f"var(--blue, {BLUE})" in text


def test_text_stays_text_in_the_font_of_the_page() -> None:
    text = svg(figure(), "one", "")
    assert ">epoch</text>" in text
    assert "font-family" not in text
    assert "<style" not in text
    assert "<metadata" not in text


def test_two_figures_of_a_page_share_no_id_and_every_reference_has_its_own() -> None:
    one, two = (svg(figure(), name, "") for name in ("one", "two"))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', one)) == ids[0]


def test_what_is_said_of_a_mark_is_its_title() -> None:
    root = ElementTree.fromstring(svg(figure(), "one", ""))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ['trial 1: "a" < b & c']
