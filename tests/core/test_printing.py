"""Text from outside, on its way to a terminal or a page."""

import io
import re
import subprocess
from pathlib import Path

import markdown_it
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from pipeline.core.commands import command, quote
from pipeline.core.printing import clean, markdown, markdown_code, one_line, print_line
from pipeline.core.stores.urls import StoreUrl
from pipeline.display.rich_console import PlainConsole

ROOT = Path(__file__).parents[2]
# A terminal's title and color, a bell, C1's own escape, text that runs backwards, half a character, markup of rich's.
NASTY = "\x1b]0;x\x07\x1b[31m\x9b31m\u202egnp.\u2066\udcff[red]a[/red] :smile:"
SHOWN = r"\x1b]0;x\x07\x1b[31m\x9b31m\u202egnp.\u2066\udcff[red]a[/red] :smile:"


def test_what_a_terminal_obeys_is_spelled_out() -> None:
    assert clean(NASTY) == SHOWN
    assert clean("a\tb\nc ä 猫 🐈") == "a\tb\nc ä 猫 🐈"
    assert one_line("a\nb\tc\r") == r"a\nb\tc\r"


@given(st.text(st.characters()))
def test_nothing_that_is_said_is_a_control_character(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", clean(text))


def test_say_goes_to_a_stream_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    StoreUrl("postgresql://me:mark-of-say@h")
    print_line(f"{NASTY} mark-of-say")
    print_line("for a person", err=True)
    said = capsys.readouterr()
    assert said.out == f"{SHOWN} ***\n"
    assert said.err == "for a person\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_table_shows_strings_as_they_are(is_terminal: bool) -> None:
    table = Table(NASTY, title=NASTY)
    table.add_row(NASTY)
    file = io.StringIO()
    console = PlainConsole(file=file, width=120, force_terminal=is_terminal)
    console.print(table)
    console.print(NASTY)
    text = re.sub("\x1b\\[[0-9;]*m", "", file.getvalue()) if is_terminal else file.getvalue()  # the table's own style
    assert text.count(SHOWN) == 4
    assert "\x1b]" not in file.getvalue()


def test_all_that_is_printed_goes_through_one_function() -> None:
    printing = re.compile(r"\bprint\(|\btyper\.echo\(|\bclick\.|\bConsole\(|sys\.std(?:out|err)\.write")
    users = {
        str(file.relative_to(ROOT / "pipeline"))
        for file in (ROOT / "pipeline").rglob("*.py")
        if any(
            printing.search(line)
            and not re.search(r"PlainConsole\(|console\.print\(|wide_console\(.*\)\.print\(", line)
            for line in file.read_text().splitlines()
        )
    }
    assert users == {"core/printing.py", "display/progress.py"}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_markdown_shows_text_as_it_is(text: str) -> None:
    _shown_as_it_is(text)


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "![a](http://evil/x.png)",
        "a|b",
        "**bold** __b__ _i_ snake_case `code` ~~gone~~",
        "&lt;b&gt;",
        "a\n# heading\n- list",
        "back\\slash\\",
        "https://evil.example www.evil.example me@evil.example",
    ],
)
def test_markup_has_no_effect(text: str) -> None:
    _shown_as_it_is(text)


def _shown_as_it_is(text: str) -> None:
    """Renders a name among other words, in a paragraph and in a table, by a CommonMark parser with GitHub's tables."""
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    html = parser.render(f"A class: {markdown(text)}, and on.\n\n| a | b |\n| - | - |\n| x{markdown(text)}x | 1 |\n")
    assert set(re.findall(r"<(\w+)", html)) <= {"p", "table", "thead", "tbody", "tr", "th", "td"}, html
    plain = re.sub(r"<[^>]*>", "", html)
    for character, entity in (('"', "&quot;"), ("<", "&lt;"), (">", "&gt;"), ("&", "&amp;")):
        plain = plain.replace(entity, character)
    assert f"A class: {one_line(text)}, and on." in plain
    assert "http://" not in markdown(text)
    code = parser.render(f"say {markdown_code(text)} now")
    assert code.count("<code>") == 1
    assert set(re.findall(r"<(\w+)", code)) == {"p", "code"}


@pytest.mark.parametrize(
    "word", ["a$(touch X);b.yaml", "it's", "", "-rf", "a b", "*", "\n\t\x1b[31m", "\u202e", "ä'\\\n"]
)
def test_a_quoted_word_is_what_a_shell_reads(word: str) -> None:
    quoted = quote(word)
    assert one_line(quoted) == quoted
    done = subprocess.run(
        ["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert done.stdout.decode() == word


def test_a_command_has_its_options_as_typed() -> None:
    text = command("run", "a b.yaml", trials=6, as_list=["x=1", "y=2"], storage=None, json=True, refit=False)
    assert text == "dnntune run 'a b.yaml' --trials 6 --as-list x=1 --as-list y=2 --json"
    assert command("best", "-rf", study="-x") == "dnntune best --study=-x -- -rf"
    assert command("run", "-") == "dnntune run -"
