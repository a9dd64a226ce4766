"""Text from outside on its way to a person: names of classes and files, messages of other programs, settings.

A terminal obeys control characters, a page obeys markup, and both let text run backwards. Here they become what they
look like in Python's source: visible, and without effect.
"""

import re
import sys

from pipeline.core.stores.urls import hide

# C0 (but the tab and the line's end), DEL and C1; what turns the direction of text (Unicode's report 9); invisible
# characters; separators that some programs break lines at; halves of characters, which no encoding has.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# What Markdown or HTML would take for markup; an underscore within a word is none.
_MARKUP = re.compile(r"[\\`*\[\]<>|#~$!&]|(?<![^\W_])_|_(?![^\W_])")
_AUTOMATIC_LINK = re.compile(r"(:)(?=//)|(?<=www)(\.)|(@)")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def clean(text: str) -> str:
    """Returns a text whose control characters and bidirectional overrides are spelled out, as in Python's source."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: object) -> str:
    """Returns `clean` text on one line: for a name among other words."""
    return clean(str(text)).replace("\t", "\\t").replace("\n", "\\n")


def markdown(text: object) -> str:
    """Returns text that Markdown, and HTML in it, show as it is, on one line: for a name in a page or a table."""
    escaped = _MARKUP.sub(lambda found: _ENTITIES.get(found.group(), f"\\{found.group()}"), one_line(text))
    return _AUTOMATIC_LINK.sub(lambda found: f"&#{ord(found.group())};", escaped)


def markdown_code(text: object) -> str:
    """Returns text as a code span of Markdown."""
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def print_line(text: object, *, err: bool = False, end: str = "\n") -> None:
    """Prints text, `clean` and without secrets. All that the command line says goes through here.

    Args:
        text: What to print.
        err: Whether to standard error.
        end: What follows.
    """
    print(clean(hide(str(text))), file=sys.stderr if err else sys.stdout, end=end, flush=True)
