"""Columns of a table as a network takes them: learned from the rows that are not in the test set, and applied."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError

Cells = Mapping[str, Sequence[str]]

# What stands for a missing number, in any case.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
MOST_CATEGORIES = 256
# Of a column's deviation, the most that float32 may round off its values.
MOST_ROUNDING = 0.01


@dataclass(frozen=True)
class Column:
    """One column, and what it becomes: a number, or one value for each category, 1 for the cell's own and 0 for others.

    Attributes:
        name: Its name in the table.
        categories: The words that are known, in order; None for a column of numbers. An unknown word is all 0.
        fill: What stands for a missing number: the median; None where none may be missing.
        says_missing: Whether one more value is 1 where the cell is empty.
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None
    says_missing: bool = False

    @property
    def is_scaled(self) -> tuple[bool, ...]:
        """For each value that it becomes, whether it is standardized: numbers are, and what is 0 or 1 is not."""
        values = (True,) if self.categories is None else (False,) * len(self.categories)
        return (*values, False) if self.says_missing else values


def learn_columns(
    cells: Cells, rows: Sequence[int], *, categorical: Sequence[str], fills: bool, origin: str
) -> tuple[Column, ...]:
    """Finds out what each column is, from some rows.

    A column is of numbers if all of its cells are, those that are missing left out.

    Args:
        cells: The cells of each column.
        rows: Rows to learn from: those of the test set are left out.
        categorical: Columns whose numbers are names of categories.
        fills: Whether cells may be missing.
        origin: The table, for messages.

    Raises:
        DataError: A cell is missing and must not be, a column has too many categories or only missing cells, or its
            numbers cannot be told apart in 32 bits.
    """
    return tuple(_learn(name, cells[name], rows, name in categorical, fills, origin) for name in cells)


def _learn(
    name: str, cells: Sequence[str], rows: Sequence[int], is_categorical: bool, fills: bool, origin: str
) -> Column:
    numbers = None if is_categorical else [_number(cells[row]) for row in rows]
    is_number = numbers is not None and all(number is not None for number in numbers)
    empty = [row for row in rows if (cells[row].lower() in MISSING if is_number else cells[row] == "")]
    if empty and not fills:
        raise DataError(
            f"{origin}, row {empty[0] + 1}: column {name} is empty, in {len(empty):,} of {len(rows):,} rows. Fill it, "
            f"or set data.missing: median, or data.ignore: [{name}]"
        )
    if len(empty) == len(rows):
        raise DataError(f"{origin}: column {name} is empty in all rows. Set data.ignore: [{name}]")
    if numbers is None or not is_number:
        words = sorted({cells[row] for row in rows} - {""})
        if len(words) > MOST_CATEGORIES:
            raise DataError(
                f"{origin}: column {name} has {len(words):,} different words, such as {words[0]!r}; a column of "
                f"categories may have {MOST_CATEGORIES}. Set data.ignore: [{name}]"
            )
        return Column(name, tuple(words), says_missing=bool(empty))
    known = np.array([number for number in numbers if number is not None and not math.isnan(number)])
    largest, deviation = float(np.abs(known).max()), float(known.std())
    is_lost = known.min() < known.max() and largest * 2**-24 > MOST_ROUNDING * deviation
    if is_lost or largest > np.finfo(np.float32).max:
        raise DataError(
            f"{origin}: the numbers of column {name}, up to {largest:g} with deviation {deviation:.3g}, cannot be told "
            f"apart in 32 bits. Subtract their mean, or set data.ignore: [{name}]"
        )
    return Column(name, fill=float(np.float32(np.median(known))) if fills else None, says_missing=bool(empty))


def encode(columns: Sequence[Column], cells: Cells, rows: Sequence[int], origin: str) -> NDArray[np.float32]:
    """Returns rows as a network takes them, (rows, values, 1, 1).

    Args:
        columns: What is known of each column.
        cells: The cells of each column; others than the known ones are passed over.
        rows: Which rows.
        origin: The table, for messages.

    Raises:
        DataError: A column is missing, or a cell that must be a number is none; names its row.
    """
    if missing := [column.name for column in columns if column.name not in cells]:
        raise DataError(
            f"{origin}: has no column {missing[0]}; it needs {', '.join(column.name for column in columns)}"
        )
    widths = [len(column.is_scaled) for column in columns]
    values = np.zeros((len(rows), sum(widths), 1, 1), np.float32)
    start = 0
    for column, width in zip(columns, widths, strict=True):
        part = values[:, start : start + width, 0, 0]
        places = {word: place for place, word in enumerate(column.categories or ())}
        for index, row in enumerate(rows):
            cell = cells[column.name][row]
            if column.categories is not None:
                if cell in places:
                    part[index, places[cell]] = 1.0
                is_missing = cell == ""
            else:
                number = _number(cell)
                if number is None or math.isinf(np.float32(number)):
                    raise DataError(f"{origin}, row {row + 1}: column {column.name} must be a number; got {cell!r}")
                if (is_missing := math.isnan(number)) and column.fill is None:
                    raise DataError(f"{origin}, row {row + 1}: column {column.name} is empty. Fill it")
                part[index, 0] = column.fill if is_missing else number
            if column.says_missing:
                part[index, -1] = is_missing
        start += width
    return values


def _number(cell: str) -> float | None:
    """Returns a cell's number, not a number for a missing one, and None for anything else."""
    if cell.lower() in MISSING:
        return math.nan
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
