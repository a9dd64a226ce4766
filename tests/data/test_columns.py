"""Columns of a table: what is learned of them, and how cells become numbers."""

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.data.columns import MOST_CATEGORIES, Column, encode, learn_columns

CELLS = {
    "height": ["1.5", "", "3", "2.5", "99"],
    "color": ["red", "blue", "red", "", "green"],
    "zone": ["1", "2", "1", "1", "3"],
}
ROWS = [0, 1, 2, 3]  # the last one is in the test set


def test_numbers_categories_and_missing_cells() -> None:
    columns = learn_columns(CELLS, ROWS, categorical=["zone"], fills=True, origin="t.csv")
    assert columns == (
        Column("height", fill=2.5, says_missing=True),  # the median of what is known, without the test row
        Column("color", ("blue", "red"), says_missing=True),
        Column("zone", ("1", "2"), fill=None),
    )
    values = encode(columns, CELLS, range(5), "t.csv")
    assert values.dtype == np.float32
    assert values[:, :, 0, 0].tolist() == [
        [1.5, 0, 0, 1, 0, 1, 0],
        [2.5, 1, 1, 0, 0, 0, 1],
        [3.0, 0, 0, 1, 0, 1, 0],
        [2.5, 0, 0, 0, 1, 1, 0],
        [99.0, 0, 0, 0, 0, 0, 0],  # unknown words are all 0
    ]
    assert [column.is_scaled for column in columns] == [(True, False), (False, False, False), (False, False)]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1", "", "2"],
            r"t.csv, row 2: column x is empty, in 1 of 3 rows.*data.missing: median, or data.ignore: \[x\]",
        ),
        (["a", "b", ""], "t.csv, row 3: column x is empty"),
        (["1e39", "1", "2"], "cannot be told apart in 32 bits"),
        (["1700000001", "1700000002", "1700000003"], "cannot be told apart in 32 bits. Subtract their mean"),
    ],
)
def test_what_cannot_be_learned_from(cells: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        learn_columns({"x": cells}, range(3), categorical=[], fills=False, origin="t.csv")


def test_an_identifier_is_no_category() -> None:
    cells = {"id": [f"n{row}" for row in range(MOST_CATEGORIES + 1)]}
    with pytest.raises(DataError, match=r"column id has 257 different words, .*data.ignore: \[id\]"):
        learn_columns(cells, range(MOST_CATEGORIES + 1), categorical=[], fills=True, origin="t.csv")


def test_a_column_that_is_empty_everywhere() -> None:
    with pytest.raises(DataError, match="column x is empty in all rows"):
        learn_columns({"x": ["", "", ""]}, range(3), categorical=[], fills=True, origin="t.csv")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"x": ["1", "two"]}, "t.csv, row 2: column x must be a number; got 'two'"),
        ({"x": ["1", ""]}, "t.csv, row 2: column x is empty"),
        ({"x": ["1", "inf"]}, "must be a number; got 'inf'"),
        ({"x": ["1", "1e39"]}, "must be a number; got '1e39'"),
        ({"y": ["1", "2"]}, "has no column x; it needs x"),
    ],
)
def test_what_cannot_be_encoded(cells: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode((Column("x"),), cells, range(2), "t.csv")
