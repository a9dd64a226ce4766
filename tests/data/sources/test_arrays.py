"""NumPy archives: every layout, and what is said of arrays that cannot be used."""

import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.data import Arrays, DataConfig
from pipeline.core.errors import DataError
from pipeline.data.images import Images, prove_same_range, range_of
from pipeline.data.loading import load_data, load_test

LABELS = np.arange(12) % 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "images.npz"


def _config(file: Path) -> DataConfig:
    return Arrays(path=str(file), valid_fraction=0.25)


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _error(file: Path, **arrays: Any) -> str:
    """Returns what is said of an archive with these arrays, less the file's name, which must come first."""
    np.savez(file, **arrays)
    with pytest.raises(DataError) as raised:
        load_data(_config(file))
    name, message = str(raised.value).split(": ", 1)
    assert name == str(file)
    return message


@pytest.mark.parametrize(
    ("shape", "to_channels_first"),
    [
        ((12, 5, 6), lambda values: values[:, None]),
        ((12, 5, 6, 1), lambda values: np.moveaxis(values, 3, 1)),
        ((12, 5, 6, 3), lambda values: np.moveaxis(values, 3, 1)),
        ((12, 5, 6, 4), lambda values: np.moveaxis(values, 3, 1)),
        ((12, 1, 5, 6), lambda values: values),
        ((12, 3, 5, 6), lambda values: values),
        ((12, 4, 5, 6), lambda values: values),
        ((12, 30), lambda values: values[:, :, None, None]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_layouts(shape: tuple[int, ...], to_channels_first: Any, dtype: type, file: Path) -> None:
    values: np.ndarray = _values(*shape).astype(dtype)
    np.savez(file, x_train=values, y_train=LABELS, x_valid=values, y_valid=LABELS)
    data = load_data(_config(file))
    np.testing.assert_array_equal(data.train.images.numpy(), to_channels_first(values))
    np.testing.assert_array_equal(data.train.labels.numpy(), LABELS)
    assert data.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("dtype", "factor", "expected"),
    [
        (np.uint8, 1, "uint8"),
        (np.int64, 1, "uint8"),
        (np.uint16, 1, "uint8"),
        (np.uint16, 257, "float32"),
        (np.int32, -1, "float32"),
        (np.float64, 1 / 255, "float32"),
        (np.float16, 1 / 255, "float32"),
    ],
)
def test_whole_numbers_up_to_255_are_held_as_bytes_and_nothing_is_lost(
    dtype: type, factor: float, expected: str, file: Path
) -> None:
    values: np.ndarray = (_values(12, 5, 6) * np.float64(factor)).astype(dtype)
    np.savez(file, x_train=values, y_train=LABELS, x_valid=values, y_valid=LABELS)
    images = load_data(_config(file)).train.images.numpy()
    assert images.dtype == expected
    np.testing.assert_array_equal(images[:, 0], values.astype(np.float32))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_parts(save: Any, file: Path) -> None:
    save(file, x_train=_values(12, 5, 6), y_train=LABELS, x_test=_values(4, 5, 6), y_test=LABELS[:4])
    data = load_data(_config(file))
    assert (len(data.train), len(data.valid)) == (9, 3)
    test = load_test(_config(file), data)
    assert test is not None
    assert len(test) == 4


@pytest.mark.parametrize("labels", [np.array(["wolf", "ant", "cat"] * 4), np.array([3, 1, 2] * 4)])
def test_labels_are_words_or_count_from_1(labels: Any, file: Path) -> None:
    np.savez(file, X_train=_values(12, 5, 6), y_train=labels, X_test=_values(4, 5, 6), Y_test=labels[:4])
    data = load_data(_config(file))
    assert data.class_names == tuple(sorted(map(str, set(labels.tolist()))))
    test = load_test(_config(file), data)
    assert test is not None
    assert test.labels.tolist() == [2, 0, 1, 2]
    assert (len(data.train), len(data.valid)) == (9, 3)


@pytest.mark.parametrize(
    ("y_train", "y_test", "message"),
    [
        (["a", "b", "c"] * 4, ["a", "b", "fox", "a"], "y_test must have labels that y_train has; got fox at image 2"),
        ([1, 2, 3] * 4, [1, 0, 2, 3], "y_test must have labels that y_train has; got 0 at image 1"),
        (["a", "b", "c"] * 4, [0, 1, 2, 0], "y_test must have labels as y_train has, <U1; got int64"),
    ],
)
def test_a_test_label_that_training_has_not(y_train: Any, y_test: Any, message: str, file: Path) -> None:
    np.savez(file, x_train=_values(12, 5, 6), y_train=y_train, x_test=_values(4, 5, 6), y_test=y_test)
    with pytest.raises(DataError, match=message):
        load_test(_config(file), load_data(_config(file)))


def test_an_array_in_large_and_small_letters(file: Path) -> None:
    np.savez(file, x_train=_values(12, 5, 6), X_train=_values(12, 5, 6), y_train=LABELS)
    with pytest.raises(DataError, match=r"it has x_train and X_train. Leave one of them out"):
        load_data(_config(file))


def test_no_test_part(file: Path) -> None:
    np.savez(file, x_train=_values(12, 5, 6), y_train=LABELS)
    assert load_test(_config(file), load_data(_config(file))) is None


def test_home_is_expanded(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    np.savez(tmp_path / "home" / "images.npz", x_train=_values(12, 5, 6), y_train=LABELS)
    assert load_data(_config(Path("~/images.npz"))).num_classes == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite(value: float, file: Path) -> None:
    values = _values(12, 5, 6).astype(np.float32)
    values[7, 2, 2] = value
    assert _error(file, x_train=values, y_train=LABELS) == (
        "train: pixel values must be finite; image 7 has NaN or infinity"
    )


X = _values(12, 5, 6)
REFUSED = {
    "no images": ({"y_train": LABELS}, "needs the arrays x_train and y_train; it holds y_train"),
    "no labels": ({"x_train": X, "x_test": X}, "needs the arrays x_train and y_train; it holds x_train, x_test"),
    "nothing": ({}, "needs the arrays x_train and y_train; it holds nothing"),
    "validation without labels": (
        {"x_train": X, "y_train": LABELS, "x_valid": X},
        "needs the arrays x_valid and y_valid; it holds x_train, y_train, x_valid",
    ),
    "objects": ({"x_train": np.full((12, 5, 6), None), "y_train": LABELS}, "Object arrays cannot be loaded"),
    "texts": ({"x_train": np.full((12, 5, 6), "a"), "y_train": LABELS}, "x_train must be numbers; got <U1"),
    "truth values": ({"x_train": X > 9, "y_train": LABELS}, "x_train must be numbers; got bool"),
    "complex": ({"x_train": X * 1j, "y_train": LABELS}, "x_train must be numbers; got complex128"),
    "one number each": ({"x_train": X[:, 0, 0], "y_train": LABELS}, "must be (images, height, width)"),
    "two channels": ({"x_train": _values(12, 2, 5, 6), "y_train": LABELS}, "got (12, 2, 5, 6)"),
    "five dimensions": ({"x_train": _values(12, 1, 5, 6, 1), "y_train": LABELS}, "got (12, 1, 5, 6, 1)"),
    "empty": ({"x_train": X[:0], "y_train": LABELS[:0]}, "holds no images; its shape is 0 x 1 x 5 x 6"),
    "without pixels": ({"x_train": X[:, :0], "y_train": LABELS}, "holds no images; its shape is 12 x 1 x 0 x 6"),
    "fewer labels": ({"x_train": X, "y_train": LABELS[:9]}, "one label for each image; got 12 images and 9 labels"),
    "a gap": ({"x_train": X, "y_train": LABELS * 2}, "class 1 (1) has none. Number the classes without gaps"),
    "a stray label": (
        {"x_train": X, "y_train": np.where(LABELS == 2, 10**6, LABELS)},
        f"y_train has 12 labels and the label {10**6}. Number the classes from 0, without gaps",
    ),
    "a negative label": ({"x_train": X, "y_train": LABELS - 1}, "must lie between 0 and 1; got -1 at image 0"),
    "floats": ({"x_train": X, "y_train": LABELS / 1}, "y_train must be whole numbers or words, (images,); got float64"),
    "NaN labels": ({"x_train": X, "y_train": LABELS * np.nan}, "y_train must be whole numbers"),
    "one-hot labels": ({"x_train": X, "y_train": np.eye(3, dtype=int)[LABELS]}, "got int64, (12, 3)"),
    "one class of one image": (
        {"x_train": X, "y_train": [*LABELS[:11], 3]},
        "a class needs 2 images to be split; class 3 has 1",
    ),
    "valid outside": (
        {"x_train": X, "y_train": LABELS, "x_valid": X, "y_valid": LABELS + 1},
        "valid: labels must lie between 0 and 2; got 3 at image 2",
    ),
    "valid of another size": (
        {"x_train": X, "y_train": LABELS, "x_valid": X[:, 1:], "y_valid": LABELS},
        "valid: images must be (1, 5, 6) as in training; got (1, 4, 6)",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(arrays: dict[str, Any], message: str, file: Path) -> None:
    assert message in _error(file, **arrays)


def test_a_test_part_of_another_size(file: Path) -> None:
    np.savez(file, x_train=X, y_train=LABELS, x_test=X[:, 1:], y_test=LABELS)
    data = load_data(_config(file))
    with pytest.raises(DataError, match=r"images must be \(1, 5, 6\) as in training; got \(1, 4, 6\)"):
        load_test(_config(file), data)


def test_a_file_that_has_lost_its_training_part_since(file: Path) -> None:
    np.savez(file, x_train=X, y_train=LABELS)
    data = load_data(_config(file))
    np.savez(file, x_test=X, y_test=LABELS)
    with pytest.raises(DataError, match=f"{file}: needs the arrays x_train and y_train"):
        load_test(_config(file), data)


def _content(file: Path, save: Any) -> bytes:
    save(file, x_train=X, y_train=LABELS)
    return file.read_bytes()


BROKEN = {
    "a text": lambda content: b"x_train, y_train\n1, 2\n",
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-10],
    "its first byte changed": lambda content: content[:61] + b"\xff" + content[62:],
    "zeros inside": lambda content: content[:120] + bytes(100) + content[220:],
    "of a newer zip": lambda content: re.sub(rb"(PK\x01\x02..).", b"\\1\xff", content, flags=re.DOTALL),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_file(change: Any, save: Any, file: Path) -> None:
    content = _content(file, save)
    assert change(content) != content
    file.write_bytes(change(content))
    with pytest.raises(DataError, match=r"cannot be read as \.npz: .*Write it with numpy\.savez") as raised:
        load_data(_config(file))
    assert str(raised.value).startswith(f"{file}: ")


def test_a_single_array(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(DataError, match=r"cannot be read as \.npz: .*Write it with numpy\.savez"):
        load_data(_config(file))


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(DataError, match=f"{file}: cannot be read as .npz: no such file"):
        load_data(_config(file))


def _npy(shape: str, descr: str = "'|u1'", size: int = 360) -> bytes:
    """Returns an array's file that announces any shape, and has so many bytes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(size)


def _saved(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


HOSTILE = {
    "terabytes": (_npy("(1000000000000, 5, 6)"), "x_train announces 30,000,000,000,000 bytes"),
    "beyond 64 bits": (_npy("(1" + "0" * 40 + ", 5, 6)"), "x_train announces 3"),
    "a negative shape": (_npy("(-12, 5, 6)"), "cannot be read as .npz"),
    "fewer bytes than announced": (_npy("(12, 5, 6)", size=100), "x_train announces 360 bytes"),
    "more bytes than announced": (_npy("(12, 5, 6)", size=1000), "x_train announces 360 bytes"),
    "objects": (_npy("(12, 5, 6)", "'|O'"), "Object arrays cannot be loaded"),
    "a shape of texts": (_npy("('12', 5, 6)"), "cannot be read as .npz"),
    "no header": (b"\x93NUMPY\x01\x00", "cannot be read as .npz"),
    "code as a header": (_npy("__import__('os')"), "cannot be read as .npz"),
    "deep": (_npy("(" * 90), "cannot be read as .npz"),
    "another version": (b"\x93NUMPY\x03\x00" + _npy("(12, 5, 6)")[8:], "version (3, 0)"),
    "no array": (b"no array", "cannot be read as .npz"),
    "empty": (b"", "cannot be read as .npz"),
    "3 x 5 x 3 values": (_saved(_values(12, 3, 5, 3)), "may have its channels in front or at the end"),
    "1 x 5 x 4 values": (_saved(_values(12, 1, 5, 4)), "may have its channels in front or at the end"),
    "floats beside bytes": (_saved(_values(12, 5, 6) / 255), "x_valid must have the type of x_train, float64"),
}


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_at_once(name: str, file: Path) -> None:
    content, message = HOSTILE[name]
    valid = {"x_valid": _values(12, 5, 6), "y_valid": LABELS} if name == "floats beside bytes" else {}
    np.savez(file, allow_pickle=False, y_train=LABELS, **valid)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("x_train.npy", content)
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        load_data(_config(file))
    assert str(raised.value).startswith(f"{file}: ")


def test_an_archive_that_does_not_fit_into_memory_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(file, x_train=np.zeros((1000, 64, 64), np.uint8), y_train=np.arange(1000) % 2)
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)
    with pytest.raises(DataError, match="x_train takes 4,096,000 bytes, and this machine has 1,000,000"):
        load_data(_config(file))


@pytest.mark.timeout(60, func_only=True)
def test_a_pipe_is_refused_at_once(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(DataError, match=r"images\.npz: cannot be read as \.npz: it is not a regular file"):
        load_data(_config(file))


def test_one_class_is_refused(file: Path) -> None:
    assert (
        _error(file, x_train=X, y_train=0 * LABELS)
        == "train: needs images of at least 2 classes; all 12 are of one. Add another"
    )


def _natural(rows: int, seed: int) -> np.ndarray:
    """Bytes as photographs have them: dark and light ones, of one level each and some noise."""
    generator = np.random.default_rng(seed)
    levels = generator.uniform(20, 230, (rows, 1, 1))
    return np.clip(generator.normal(levels, 25, (rows, 5, 6)), 0, 255).astype(np.uint8)


def _heavy(rows: int, seed: int) -> np.ndarray:
    """Values of which a few are thousands of times larger than most."""
    return np.random.default_rng(seed).lognormal(0, 2, (rows, 5, 6)).astype(np.float32)


def _save(file: Path, train: np.ndarray, part: str, other: np.ndarray) -> None:
    arrays = {"x_train": train, f"x_{part}": other}
    arrays |= {"y_train": np.arange(len(train)) % 3, f"y_{part}": np.arange(len(other)) % 3}
    np.savez(file, allow_pickle=False, **arrays)


OF_ANOTHER_RANGE = {
    "floats to 255 beside floats to 1": (np.float32(1), np.float32(1 / 255)),
    "floats to 1 beside floats to 255": (np.float32(1 / 255), np.float32(1)),
    "around 0": (np.float32(-1 / 255), np.float32(-1)),
}


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize(("scale", "other_scale"), OF_ANOTHER_RANGE.values(), ids=OF_ANOTHER_RANGE)
def test_a_part_of_another_range(scale: Any, other_scale: Any, part: str, file: Path) -> None:
    _save(file, _natural(60, 0) * scale, part, _natural(9, 1) * other_scale)
    with pytest.raises(DataError) as caught:
        load_test(_config(file), load_data(_config(file)))
    said = str(caught.value)
    assert said.startswith(f"{file}: {part}: values must mean the same as in training, where they go from ")
    assert "255" in said
    assert said.endswith("Divide or multiply all parts by the same number, or none")


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("in_training", [True, False])
def test_bytes_of_0_and_1_beside_bytes_to_255(in_training: bool, part: str, file: Path) -> None:
    ones = (_natural(60, 0) > 128).astype(np.uint8)
    _save(file, *((ones, part, _natural(9, 1)) if in_training else (_natural(60, 1), part, ones[:9])))
    with pytest.raises(DataError, match=r"go from 0 to 1 \(mean size 0\.\d+\)"):
        load_test(_config(file), load_data(_config(file)))


OF_ONE_RANGE = {
    "photographs": (_natural(60, 0), _natural(9, 1)),
    "few images": (_natural(600, 0), _natural(1, 3)),
    "dark ones with a bright point": (_natural(60, 0), np.where(np.arange(30).reshape(1, 5, 6) == 7, 255, 1)),
    "dark ones": (_natural(60, 0), np.full((9, 5, 6), 17)),
    "black ones": (_natural(60, 0), np.zeros((9, 5, 6))),
    "standardized": ((_natural(60, 0) - 120.0) / 70, (_natural(9, 1) - 120.0) / 70),
    "an outlier": (_heavy(60, 0) * np.where(np.arange(1800).reshape(60, 5, 6) == 700, 1e4, 1), _heavy(9, 1)),
    "few points": (np.eye(60)[:, :30].reshape(60, 5, 6) * 255, np.full((9, 5, 6), 255)),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("one", "other"), OF_ONE_RANGE.values(), ids=OF_ONE_RANGE)
def test_what_is_of_one_range_by_nature_is_accepted(one: np.ndarray, other: np.ndarray, turned: bool) -> None:
    one, other = (values.astype(np.float32)[:, None] for values in ((other, one) if turned else (one, other)))
    prove_same_range(range_of(one), Images(other, np.zeros(len(other), np.int64), ("a",), "here"))
