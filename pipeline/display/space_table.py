"""A search space as a table: what `dnntune check` prints."""

from typing import TYPE_CHECKING

from pipeline.space.tree import SearchSpace

if TYPE_CHECKING:
    from rich.table import Table


def space_table(name: str, space: SearchSpace) -> "Table":
    """Returns the parameters of a space, with distribution and condition, as a table for the terminal."""
    from rich.table import Table

    parameters = space.parameters()
    table = Table(title=f"{name}: valid, {len(parameters)} free parameters", title_justify="left")
    for column in ("parameter", "distribution", "only if"):
        table.add_column(column, overflow="fold")
    for parameter in parameters:
        condition = "" if parameter.condition is None else f"{parameter.condition[0]} = {parameter.condition[1]}"
        table.add_row(parameter.name, str(parameter.distribution), condition)
    return table
