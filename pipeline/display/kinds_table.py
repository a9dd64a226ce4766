"""The kinds that there are: what `dnntune kinds` prints."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.plugins.listing import ListedKind

if TYPE_CHECKING:
    from rich.table import Table


def kinds_table(kinds: Iterable[ListedKind]) -> "Table":
    """Returns kinds as a table for the terminal, a line between groups."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("group", "kind", "description", "origin")
    group = ""
    for kind in kinds:
        if group and kind.group != group:
            table.add_section()
        group = kind.group
        table.add_row(*map(escape, kind))
    return table
