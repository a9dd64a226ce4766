"""A console of rich's for tables of text that comes from outside."""

from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline.core.printing import clean
from pipeline.core.stores.urls import hide


class PlainConsole(Console):
    """A console that shows every string as it is: no markup, no emoji, no control characters, no secrets."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Renders a string: of a line, of a table's title, head or cell."""
        return super().render_str(clean(hide(text)), **{**options, "markup": False, "emoji": False, "highlight": False})
