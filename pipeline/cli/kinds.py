"""The command kinds: what can stand in a search space, plug-ins included."""

import json
from typing import Annotated

import typer

from pipeline.cli.groups import grouped
from pipeline.cli.options import JsonOption, app
from pipeline.core.printing import print_line


@app.command()
@grouped
def kinds(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="model, optimizer, loss, ...; default: all groups.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the kinds of model, loss, optimizer and so on, with description and origin."""
    from pipeline.display.console import wide_console
    from pipeline.display.kinds_table import kinds_table
    from pipeline.plugins.listing import list_kinds

    listed = list_kinds(group)
    wide_console(err=as_json).print(kinds_table(listed))
    if as_json:
        print_line(json.dumps([kind._asdict() for kind in listed]))
