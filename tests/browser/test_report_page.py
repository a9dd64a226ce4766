"""A study's report in a real browser: everything drawn, nothing loaded, readable in light and dark, wide and narrow."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page

from pipeline.report.page import report_html
from tests.finalize.finals import FINAL
from tests.report.studies import varied_study

# What WCAG 2.2 asks of text (1.4.3) and of graphics (1.4.11).
TEXT_CONTRAST, GRAPHICS_CONTRAST = 4.5, 3.0
# The contrast between two colors (WCAG 2.2, "relative luminance"), in whichever way the browser writes them.
CONTRAST = """
  const luminance = color => {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
"""
# The least contrast of a text with its background, and the text. The confusion matrix has colors of its own.
LEAST_OF_TEXT = f"""() => {{
  {CONTRAST}
  const background = element => {{
    for (let e = element; e; e = e.parentElement) {{
      const color = getComputedStyle(e).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }}
  }};
  const texts = document.querySelectorAll("p, a, td, th, h1, h2, h3, b, span, figcaption, pre, summary, svg text");
  return [...texts].filter(e => e.textContent.trim() && !e.closest("svg[aria-label^=Confusion]")).map(e => {{
    const style = getComputedStyle(e);
    return [contrast(e.closest("svg") ? style.fill : style.color, background(e)), e.textContent];
  }}).sort((a, b) => a[0] - b[0])[0];
}}"""
LEAST_OF_MARKS = f"""() => {{
  {CONTRAST}
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return Math.min(...["--blue", "--orange", "--gray", "--purple"].map(name => contrast(color(name), color("--paper"))));
}}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with every outcome, two metrics and a final result."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report_html(varied_study(metrics=("valid_accuracy", "num_parameters")), FINAL))
    return file


@pytest.fixture
def opened(page: Page, report: Path) -> Page:
    """The report, opened; whatever it asks for or complains of is an error."""
    asked: list[str] = []
    page.on("console", lambda message: asked.append(message.text))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    assert [one for one in asked if not one.startswith("data:")] == [report.as_uri()]
    return page


def test_every_figure_is_drawn_and_described(opened: Page) -> None:
    figures: list[dict[str, Any]] = opened.locator("svg").evaluate_all(
        """all => all.map(svg => ({
          name: svg.getAttribute("aria-label"), role: svg.getAttribute("role"),
          width: svg.getBBox().width, height: svg.getBBox().height,
          marks: svg.querySelectorAll("path, use, image").length, texts: svg.querySelectorAll("text").length,
        }))"""
    )
    assert len(figures) >= 14
    for figure in figures:
        assert figure["name"], figure
        assert figure["role"] == "img"
        assert figure["width"] > 100, figure
        assert figure["height"] > 50, figure
        assert figure["marks"] > 5, figure
        assert figure["texts"] > 3, figure


def test_every_image_is_there(opened: Page) -> None:
    images = opened.locator("img")
    assert images.count() == len(FINAL.misclassified)
    assert all(images.evaluate_all("all => all.map(image => image.naturalWidth > 0 && image.alt.length > 0)"))


def test_the_answer_comes_first_and_the_contents_lead_to_each_section(opened: Page) -> None:
    assert opened.locator(".card").first.inner_text().split("\n")[:2] == ["test accuracy", "0.9300"]
    targets = opened.locator("nav a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    headings = opened.locator("h2").evaluate_all("all => all.map(h => '#' + h.id)")
    assert targets == headings
    assert {"#final", "#front", "#failures", "#repeat"} <= set(targets)


def test_a_mark_says_which_trial_it_is(opened: Page) -> None:
    titles = opened.locator("svg[aria-label^='valid_accuracy of 20 trials over their'] title").all_text_contents()
    assert len(titles) == 20
    assert titles[8] == "t008 relu 3x16 sgd: complete, 0.94, 2000"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_can_be_read(opened: Page, scheme: Literal["light", "dark"]) -> None:
    opened.emulate_media(color_scheme=scheme)
    contrast, text = opened.evaluate(LEAST_OF_TEXT)
    assert contrast >= TEXT_CONTRAST, text
    assert opened.evaluate(LEAST_OF_MARKS) >= GRAPHICS_CONTRAST


def test_light_and_dark_differ(opened: Page) -> None:
    colors = []
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme)
        colors.append(opened.evaluate("getComputedStyle(document.querySelector('svg text')).fill"))
    assert colors[0] != colors[1]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_never_scrolls_sideways(opened: Page, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 740})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_telephone_a_wide_figure_scrolls_in_its_own_box(opened: Page) -> None:
    opened.set_viewport_size({"width": 360, "height": 740})
    box = opened.locator("svg[aria-label*=' over their numbers']").locator("..")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")


def test_on_paper_it_is_light_and_whole(opened: Page) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    opened.set_viewport_size({"width": 690, "height": 1000})
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not opened.locator("nav").is_visible()
    assert opened.locator("details pre").is_visible()
    cut = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1).length"
    assert opened.locator("figure .scroll").evaluate_all(cut) == 0
    assert opened.pdf(format="A4").startswith(b"%PDF")
