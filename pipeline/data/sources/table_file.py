"""Tables from CSV and Parquet files: every cell as text."""

import csv
import math
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import open_regular, reason

DELIMITERS = (",", ";", "\t")


def read_table_file(file: Path) -> dict[str, list[str]]:
    """Reads a table: Parquet if it ends in ``.parquet``, or else CSV with a row of names.

    A CSV file is UTF-8; its cells are separated by what separates its names: commas, semicolons or tabs.

    Returns:
        The cells of each column, without spaces around them; empty where a value is missing.

    Raises:
        DataError: It is no such file, or has no rows; names the row.
    """
    try:
        columns = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read as a table: {reason(error)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as CSV: {error}. Write it as UTF-8, with a row of names") from None
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{file}: has no rows. It needs a row of names, and a row for each example")
    return columns


def _csv(file: Path) -> dict[str, list[str]]:
    with open_regular(file) as stream:
        text = stream.read().decode("utf-8-sig")
    first = text.partition("\n")[0]
    lines = csv.reader(
        text.splitlines(keepends=True), delimiter=max(DELIMITERS, key=first.count), strict=True, skipinitialspace=True
    )
    names = [name.strip() for name in next(lines, [])]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{file}: each column needs a name of its own; {twice[0]!r} occurs twice")
    cells: list[list[str]] = [[] for _ in names]
    row = 0
    for line in lines:
        if not line:
            continue
        row += 1
        if len(line) != len(names):
            raise DataError(f"{file}, row {row}: needs {len(names)} cells, one for each name; got {len(line)}")
        for column, cell in zip(cells, line, strict=True):
            column.append(cell.strip())
    return dict(zip(names, cells, strict=True))


def _parquet(file: Path) -> dict[str, list[str]]:
    from pyarrow import ArrowException, parquet  # takes a moment to import

    try:
        with open_regular(file) as stream:
            columns = parquet.read_table(stream).to_pydict()
    except ArrowException as error:
        raise DataError(f"{file}: cannot be read as Parquet: {error}") from None
    return {name: [_text(value) for value in values] for name, values in columns.items()}


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()
