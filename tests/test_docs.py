"""What the documentation says is what the program does."""

import importlib.util
import re
from pathlib import Path

import pytest

from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "search_spaces" / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs" / "conventions.md",
    ROOT / "docs" / "networks.md",
    ROOT / "docs" / "imbalance.md",
    ROOT / "docs" / "few-images.md",
    ROOT / "docs" / "python.md",
    ROOT / "docs" / "techniques.md",
]


def test_the_configuration_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == generate.page(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_space_in_the_documentation_is_sound(page: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for block in blocks:
        if "space:" in block:
            assert read_space(parse(block, page.name), "example").space is not None


def test_every_convention_is_held_by_a_test() -> None:
    text = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    held = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert [
        (file, test) for file, test in held if f"\ndef {test}(" not in (ROOT / "tests" / file).read_text("utf-8")
    ] == []
    table = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [line for line in table if not line.startswith(("| ---", "| technique"))]
    assert len(rows) > 30
    assert [row for row in rows if row.count("|") != 7 or ".py::test_" not in row.split("|")[-2]] == []


def test_make_quick_names_tests_that_exist() -> None:
    named = re.search(r"^QUICK := (.*?)\n#", (ROOT / "Makefile").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert named is not None
    paths = [word for word in named[1].split() if word.startswith("tests/")]
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
