"""Your own data in a table: images beside it, or numbers in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from pipeline.config.data import Table
from pipeline.core.errors import DataError
from pipeline.data.loading import load_data, load_test
from pipeline.data.sources.table_file import read_table_file

WriteTable = Callable[..., Table]


@pytest.fixture
def images(tmp_path: Path) -> WriteTable:
    """Writes 20 one-colored images, and a table of them; `change` changes its rows."""

    def write(header: str = "file,class", change: Callable[[list[str]], None] | None = None, **settings: Any) -> Table:
        (tmp_path / "photos").mkdir(exist_ok=True)
        rows = []
        for row in range(20):
            Image.new("RGB", (6, 5), (row, 0, 0)).save(tmp_path / "photos" / f"{row}.png")
            rows.append(f"photos/{row}.png,{'cat' if row % 2 else 'dog'}")
        if change is not None:
            change(rows)
        (tmp_path / "labels.csv").write_text("\n".join([header, *rows, ""]))
        fields = {"path": str(tmp_path / "labels.csv"), "label": "class", "image": "file", "image_size": 4}
        return Table.model_validate({**fields, **settings})

    return write


def test_images_next_to_a_table(images: WriteTable) -> None:
    config = images(valid_fraction=0.25, test_fraction=0.2)
    data = load_data(config)
    test = load_test(config, data)
    assert test is not None
    assert data.class_names == ("cat", "dog")
    assert (len(data.train), len(data.valid), len(test)) == (12, 4, 4)
    for part in (data.train, data.valid, test):  # odd ones are cats
        assert torch.equal(part.images[:, 0, 0, 0] % 2 == 0, part.labels == 1)
    everything = torch.cat([part.images[:, 0, 0, 0] for part in (data.train, data.valid, test)])
    assert sorted(everything.tolist()) == [*range(20)]


def test_a_column_says_the_part(images: WriteTable) -> None:
    def say(rows: list[str]) -> None:
        words = ["train"] * 12 + ["val"] * 4 + ["Test"] * 4
        rows[:] = [f"{row},{word}" for row, word in zip(rows, words, strict=True)]

    config = images("file,class,part", say, split="part")
    data = load_data(config)
    test = load_test(config, data)
    assert test is not None
    assert data.valid.images[:, 0, 0, 0].tolist() == [12, 13, 14, 15]
    assert test.images[:, 0, 0, 0].tolist() == [16, 17, 18, 19]
    with pytest.raises(DataError, match=r"there is one: the test rows of .*labels.csv. Leave test_fraction out"):
        load_data(config.model_copy(update={"test_fraction": 0.5}))


def test_test_images_are_not_opened_in_tuning(images: WriteTable, tmp_path: Path) -> None:
    config = images()
    test = load_test(config, load_data(config))
    assert test is not None
    for row in test.images[:, 0, 0, 0].tolist():
        (tmp_path / "photos" / f"{row}.png").unlink()
    data = load_data(config)
    with pytest.raises(DataError, match="there is no image"):
        load_test(config, data)


def _set(row: int, text: str) -> Callable[[list[str]], None]:
    def change(rows: list[str]) -> None:
        rows[row] = text

    return change


def _two_missing(rows: list[str]) -> None:
    rows[3], rows[5] = "none1.png,cat", "none2.png,cat"  # at most one of them is in the test set


@pytest.mark.parametrize(
    ("header", "change", "settings", "message"),
    [
        ("file,class", _set(3, "photos/3.png,"), {}, r"labels.csv, row 4: the label is empty"),
        ("file,class", _set(3, ",cat"), {}, r"row 4: the image is empty. Fill it, or remove the row"),
        ("file,class", _set(3, "photos/1.png,cat"), {}, r"row 4: photos/1.png is the image of row 2, too. Remove one"),
        ("file,class", _set(3, "photos/3.png"), {}, r"row 4: needs 2 cells, one for each name; got 1"),
        ("file,class", _two_missing, {"test_fraction": 0.1}, "there is no image .*/none[12].png. Correct the path"),
        ("file,class", None, {"label": "clas"}, r"has no column 'clas'. Did you mean class\?"),
        ("file,file", None, {}, "each column needs a name of its own; 'file' occurs twice"),
        ("file,class", None, {"split": "class"}, "row 1: class must be train, valid or test; got 'dog'"),
        ("file,class", lambda rows: rows.clear(), {}, "has no rows"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(
    header: str, change: Any, settings: dict[str, Any], message: str, images: WriteTable
) -> None:
    with pytest.raises(DataError, match=message):
        load_data(images(header, change, **settings))


def test_a_label_that_no_training_row_has(images: WriteTable) -> None:
    def say(rows: list[str]) -> None:
        rows[:] = [f"{row},{'train' if place < 16 else 'test'}" for place, row in enumerate(rows)]
        rows[18] = rows[18].replace("dog", "fox")

    with pytest.raises(DataError, match="row 19: no training row has the label 'fox'"):
        load_data(images("file,class,part", say, split="part"))


def _write_numbers(file: Path, labels: list[str], columns: dict[str, list[str]]) -> Table:
    lines = [";".join(["label", *columns]), *map(";".join, zip(labels, *columns.values(), strict=True))]
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    return Table(path=str(file), label="label")


def test_numbers_have_a_mean_and_a_deviation_for_each_column(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    columns = {
        "small": generator.normal(0, 1e-3, 60),
        "large": generator.normal(5e4, 1e4, 60),
        "same": np.full(60, 0.1),
    }
    texts = {name: [repr(float(value)) for value in values] for name, values in columns.items()}
    labels = [str(row % 3 + 1) for row in range(60)]
    config = _write_numbers(tmp_path / "t.csv", labels, {**texts, "color": ["red", "blue"] * 30})
    data = load_data(config)
    assert data.class_names == ("1", "2", "3")
    assert data.train.has_numbers
    assert data.image_shape == (5, 1, 1)
    values, _ = data.train.slice(0, len(data.train))
    values = values[:, :, 0, 0]
    torch.testing.assert_close(values.mean(0)[:3], torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0)[:2], torch.ones(2), atol=1e-4, rtol=0)
    assert values[:, 2].abs().max() < 1e-6  # nothing is divided by a deviation of 0
    assert set(values[:, 3:].flatten().tolist()) == {0.0, 1.0}


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    labels = [str(label) for label in (10, 9, 2, 1) for _ in range(10)]
    config = _write_numbers(tmp_path / "t.csv", labels, {"x": [str(row) for row in range(40)]})
    assert load_data(config).class_names == ("1", "2", "9", "10")


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    columns = {"x": [1.5, None, float("nan")], "n": [1, 2, 3], "word": ["a", None, " b "], "flag": [True, False, None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert read_table_file(tmp_path / "t.parquet") == {
        "x": ["1.5", "", ""],
        "n": ["1", "2", "3"],
        "word": ["a", "", "b"],
        "flag": ["True", "False", ""],
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,\xff\n", "cannot be read as CSV: .*Write it as UTF-8"),
        ("t.csv", b'a,b\n"1,2\n', "cannot be read as CSV"),
        ("t.csv", b"", "has no rows"),
        ("t.parquet", b"PAR1 but no table", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table_file(tmp_path / name)


def test_an_index_without_a_name_is_not_learned_from(tmp_path: Path) -> None:
    config = _write_numbers(tmp_path / "t.csv", ["a", "b"] * 10, {"": [str(row) for row in range(20)]})
    with pytest.raises(DataError, match=r"a column has no name \(an index\?\)"):
        load_data(config)
