"""The published settings, and the page that compares them with ours."""

from pathlib import Path

import pytest

from benchmarks.reference.published import SETTINGS
from benchmarks.reference.report import Comparison, Done, write_report
from benchmarks.reference.settings import Setting

PAGE = Path(__file__).parents[2] / "docs" / "reference-results.md"
PUBLISHED = [setting for setting in SETTINGS if not setting.key.startswith("control")]


def test_there_are_enough_of_them_each_with_a_name_and_a_figure() -> None:
    assert len(PUBLISHED) >= 12
    assert len({setting.key for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.valid or setting.test for setting in SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_each_is_a_sound_configuration(setting: Setting) -> None:
    config = setting.trial(3)
    assert (config.data.kind, config.seed) == ("fashion_mnist", 3)
    assert setting.stops_early == (config.early_stopping.patience is not None)
    assert setting.test_mc is None or config.model.drops


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_each_is_on_the_page(setting: Setting) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {setting.key} |")]
    figures = [figure for figure in (setting.valid, setting.test, setting.test_mc) if figure is not None]
    assert len(rows) == len(figures) + 1  # and its description
    assert all(any(f"| {figure:.4f} |" in row for row in rows) for figure in figures)


@pytest.mark.parametrize(("published", "place"), [(0.70, "below"), (0.81, "within"), (0.90, "**above**")])
def test_a_published_figure_is_held_against_the_interval_for_one_run(published: float, place: str) -> None:
    row = Comparison(SETTINGS[0], "validation", published, [0.79, 0.80, 0.81], ["healthy"])
    assert row.place == place


def test_the_page_is_written_from_what_has_run(tmp_path: Path) -> None:
    runs = [Done({"final_valid_accuracy": value, "final_test_accuracy": 0.5}, "healthy") for value in (0.86, 0.87)]
    done = {setting.key: runs if setting is SETTINGS[0] else [] for setting in SETTINGS}
    write_report(tmp_path / "page.md", done)
    text = (tmp_path / "page.md").read_text()
    assert "1 published settings, 1 figures" in text
    assert "| lecture baseline | validation | 0.8728 | 0.8650 (2) |" in text
