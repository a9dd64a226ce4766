"""Your own data in a table: labels of image files, or numbers and categories."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.data import Table
from pipeline.config.schema import did_you_mean
from pipeline.core.errors import DataError
from pipeline.data.columns import encode, learn_columns
from pipeline.data.image_files import decode_all
from pipeline.data.images import Images, Split
from pipeline.data.sources.table_file import read_table_file
from pipeline.data.sources.user_data import DEFAULT_SIZE, TEST_FRACTION, has_test_set
from pipeline.data.split import split_off_test

PARTS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_table(config: Table, split: Split, _folders: Sequence[Path]) -> Images | None:
    """Reads one part: its image files, or its rows as numbers; see `pipeline.data.columns`."""
    file = Path(config.path).expanduser()
    cells = read_table_file(file)
    special = [name for name in (config.label, config.image, config.split) if name is not None]
    for name in (*special, *config.ignore, *config.categorical):
        if name not in cells:
            hint = did_you_mean(name, cells) or f"; it has {', '.join(list(cells)[:20])}"
            raise DataError(f"{file}: has no column {name!r}{hint}")
    parts = _parts(config, file, cells)
    class_names, labels = _labels(file, cells[config.label], parts)
    if config.test_fraction is not None or config.split is None:
        keys = cells[config.image] if config.image is not None else [str(row) for row in range(len(labels))]
        rows = np.flatnonzero(parts == "train")
        _, test = split_off_test(
            labels[rows], [keys[row] for row in rows], config.test_fraction or TEST_FRACTION, str(file)
        )
        parts[rows[test]] = "test"
    wanted = np.flatnonzero(parts == split).tolist()
    if not wanted:
        return None
    origin = f"{file}: {split}"
    if config.image is not None:
        size = config.image_size or DEFAULT_SIZE
        files = _image_files(file, cells[config.image], wanted)
        return Images(decode_all(files, size), labels[wanted], class_names, origin)
    values = {name: column for name, column in cells.items() if name not in (*special, *config.ignore)}
    if not values or "" in values:
        what = "a column has no name (an index?). Name it, or write the table without it" if values else "only labels"
        raise DataError(f"{file}: needs columns of numbers or categories, with names; {what}")
    known = np.flatnonzero(parts != "test").tolist()
    columns = learn_columns(
        values, known, categorical=config.categorical, fills=config.missing == "median", origin=str(file)
    )
    return Images(encode(columns, values, wanted, str(file)), labels[wanted], class_names, origin, columns)


def _parts(config: Table, file: Path, cells: dict[str, list[str]]) -> NDArray[np.str_]:
    """Returns the part of each row."""
    if config.split is None:
        return np.full(len(cells[config.label]), "train", dtype="<U5")
    words = [word.lower() for word in cells[config.split]]
    for row, word in enumerate(words):
        if word not in PARTS:
            raise DataError(f"{file}, row {row + 1}: {config.split} must be train, valid or test; got {word!r}")
    parts = np.array([PARTS[word] for word in words], dtype="<U5")
    if not (parts == "train").any():
        raise DataError(f"{file}: column {config.split} has no training rows. Say train in some")
    if config.test_fraction is not None and (parts == "test").any():
        raise has_test_set(f"the test rows of {file}")
    return parts


def _labels(file: Path, words: Sequence[str], parts: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Returns the classes of the training rows, in order (numbers by size), and each row's place among them."""
    if "" in words:
        raise DataError(f"{file}, row {words.index('') + 1}: the label is empty. Fill it, or remove the row")
    names = {word for word, part in zip(words, parts, strict=True) if part == "train"}
    by_size = all(name.lstrip("-").isdecimal() for name in names)
    class_names = tuple(sorted(names, key=lambda name: (int(name) if by_size else 0, name)))
    places = {name: place for place, name in enumerate(class_names)}
    for row, word in enumerate(words):
        if word not in places:
            raise DataError(f"{file}, row {row + 1}: no training row has the label {word!r}. Correct it, or add some")
    return class_names, np.array([places[word] for word in words], dtype=np.int64)


def _image_files(file: Path, names: Sequence[str], rows: Sequence[int]) -> list[Path]:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if not name:
            raise DataError(f"{file}, row {row + 1}: the image is empty. Fill it, or remove the row")
        if (before := first.setdefault(name, row)) != row:
            raise DataError(f"{file}, row {row + 1}: {name} is the image of row {before + 1}, too. Remove one of them")
    files = [file.parent / Path(names[row]).expanduser() for row in rows]
    for row, image in zip(rows, files, strict=True):
        if not image.exists():
            raise DataError(f"{file}, row {row + 1}: there is no image {image}. Correct the path, or remove the row")
    return files
