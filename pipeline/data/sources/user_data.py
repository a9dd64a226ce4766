"""Where images are, your own and built-in ones, found by those who read them and who only check: no torch here."""

import importlib.util
import lzma
import math
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.data import Arrays, DataConfig, ImageFolder, Table
from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import MOST_FROM_A_BYTE, open_regular, reason
from pipeline.core.processes.machine import memory_bytes

if TYPE_CHECKING:
    import numpy as np

# What a study reads: not the test set.
STUDIED = ("train", "valid")
CHANNELS = (1, 3, 4)
# Height and width of images whose size nothing decides.
DEFAULT_SIZE = 64
# Of your own data whose parts are not named so much is the test set.
TEST_FRACTION = 0.2
# What zipfile and NumPy raise of damaged files.
DAMAGE = (
    EOFError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, SyntaxError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip

# Debian's package dataset-fashion-mnist.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
# The data sets that torchvision downloads, by what it calls them.
DOWNLOADED = {"fashion_mnist": "FashionMNIST", "mnist": "MNIST", "cifar10": "CIFAR10"}
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_FILES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_IDX_STEMS = {"train": "train", "test": "t10k"}
DATA_VARIABLE = "DNNTUNE_DATA"


def data_folders(data_dir: str | None) -> list[Path]:
    """Returns the folders to look in: ``data_dir``, $DNNTUNE_DATA, and the download folder, those that are set."""
    named = [data_dir, os.environ.get(DATA_VARIABLE)]
    return [*(Path(folder).expanduser() for folder in named if folder), Path.home() / ".cache" / "dnntune" / "data"]


def find_file(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """Returns the first file that exists under one of the names, folder by folder."""
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def how_to_get(what: str, folders: Sequence[Path], reason: str) -> str:
    """Returns what to tell a user of a data set that is not here and cannot be downloaded, for a reason."""
    return (
        f"{what} is in none of {', '.join(map(str, folders))} and cannot be downloaded: {reason}. "
        f"Put its files there, or name their folder with --data-dir or ${DATA_VARIABLE}"
    )


def idx_files(name: str, part: str, folders: Sequence[Path]) -> dict[str, Path | None]:
    """Returns where the files of MNIST or Fashion-MNIST are, by name, images first; None for one that is missing.

    They may lie where torchvision keeps them, or directly in a folder; Fashion-MNIST also where Debian has it.
    """
    product, also = DOWNLOADED[name], [DEBIAN_FASHION_MNIST] if name == "fashion_mnist" else []
    files = [f"{_IDX_STEMS[part]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    return {
        file: find_file([f"{product}/raw/{file}", f"{product}/raw/{file}.gz", file, f"{file}.gz"], [*folders, *also])
        for file in files
    }


def missing_files(name: str, folders: Sequence[Path]) -> list[str]:
    """Returns the files of a built-in data set's training set that are in none of the folders."""
    if name == "cifar10":
        files = CIFAR10_FILES["train"]
        first = find_file([f"{CIFAR10_FOLDER}/{files[0]}", files[0]], folders)
        return files if first is None else [file for file in files if not (first.parent / file).is_file()]
    if name in DOWNLOADED:
        return [file for file, found in idx_files(name, "train", folders).items() if found is None]
    return []


def download_addresses(name: str) -> list[str]:
    """Returns where torchvision downloads a data set from, read from its source: to import it takes seconds."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "datasets" / ("cifar.py" if name == "cifar10" else "mnist.py")
    _, _, body = file.read_text(encoding="utf-8").partition(f"class {DOWNLOADED[name]}(")
    known = re.search(r"^    (?:mirrors|url) = (\[.*?\]|.*?$)", body, re.DOTALL | re.MULTILINE)
    assert known is not None
    return re.findall(r'"(https?://[^"]+)"', known[1])


def image_root(config: ImageFolder) -> Path:
    """Returns the folder of an image_folder."""
    return Path(config.path).expanduser()


def train_folder(config: ImageFolder) -> Path:
    """Returns the folder that has a folder for each class: train/, or the whole one where no parts are named.

    Raises:
        DataError: Only other parts are named.
    """
    root = image_root(config)
    if is_folder(root / "train"):
        return root / "train"
    if named := [part for part in ("valid", "test") if is_folder(root / part)]:
        raise DataError(f"{root}: has {named[0]}/ and no train/. Put the training images into train/CLASS")
    return root


def test_fraction(config: ImageFolder) -> float | None:
    """Returns which share of the images is split off as a test set; None for none.

    Raises:
        DataError: A share is asked for, and there is a test set.
    """
    root = image_root(config)
    if config.test_fraction is not None and is_folder(root / "test"):
        raise has_test_set(str(root / "test"))
    return config.test_fraction or (None if train_folder(config) != root else TEST_FRACTION)


def is_folder(folder: Path) -> bool:
    """Returns whether there is a folder.

    Raises:
        DataError: It cannot be looked into.
    """
    try:
        return folder.is_dir()
    except OSError as error:
        raise DataError(f"{folder}: cannot be looked into: {error.strerror}") from None


def has_test_set(where: str) -> DataError:
    """Returns the error that a test set is to be split off data that have one."""
    return DataError(f"data.test_fraction splits a test set off, and there is one: {where}. Leave test_fraction out")


def class_folders(folder: Path) -> tuple[str, ...]:
    """Returns the names of the classes that have a folder; what is hidden is none.

    Raises:
        DataError: There is no such folder, or there are not at least 2 classes.
    """
    if not is_folder(folder):
        raise DataError(f"{folder}: no such folder. data.path needs a folder for each class, or train/ with them")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(names) < 2:
        raise DataError(f"{folder}: needs a folder for each of at least 2 classes; got {len(names)}")
    return names


def archive_file(config: Arrays) -> Path:
    """Returns the file of arrays.

    Raises:
        DataError: There is no such file.
    """
    file = Path(config.path).expanduser()
    try:
        is_file = file.is_file()
    except OSError as error:
        raise DataError(f"{file}: cannot be read as .npz: {error.strerror}") from None
    if not is_file:
        what = "it is not a regular file" if file.exists() else "no such file"
        raise DataError(f"{file}: cannot be read as .npz: {what}. Write it with numpy.savez")
    return file


@dataclass(frozen=True)
class Header:
    """What an archive says of an array: its shape, and the type of its values."""

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"


def array_names(written: Iterable[str]) -> dict[str, str]:
    """Returns the arrays of an archive by their names in small letters: ``X_train`` is ``x_train``.

    Raises:
        ValueError: Two have the same.
    """
    names: dict[str, str] = {}
    for name in written:
        if (other := names.setdefault(name.lower(), name)) != name:
            raise ValueError(f"it has {other} and {name}. Leave one of them out")
    return names


def archive_headers(archive: zipfile.ZipFile, parts: Sequence[str]) -> dict[str, Header]:
    """Returns what an .npz says of the arrays of some parts, by name: those that are there.

    Each is proven to be as large as it says and to fit into this machine's memory. Nothing is allocated: a few bytes
    can announce terabytes.

    Raises:
        ValueError: An array is larger or smaller than it says, or too large.
    """
    from numpy.lib import format as npy  # NumPy takes a moment to import, and most data sets need none of it here

    headers = {}
    written = array_names([entry.removesuffix(".npy") for entry in archive.NameToInfo if entry.endswith(".npy")])
    for name in (name for part in parts for kind in "xy" if (name := f"{kind}_{part}") in written):
        entry = archive.getinfo(f"{written[name]}.npy")
        with archive.open(entry) as stream:
            version = npy.read_magic(stream)
            if version == (1, 0):
                shape, _, dtype = npy.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, _, dtype = npy.read_array_header_2_0(stream)
            else:
                raise ValueError(f"{name} is in version {version} of NumPy's format; only 1 and 2 hold numbers alone")
            announced, there = math.prod(shape) * dtype.itemsize, entry.file_size - stream.tell()
        headers[name] = Header(shape, dtype)
        if dtype.hasobject:
            continue  # NumPy says so itself
        if announced != there or entry.file_size > MOST_FROM_A_BYTE * (entry.compress_size + 1):
            raise ValueError(
                f"{name} announces {announced:,} bytes ({shape}), and there are {there:,}, of {entry.compress_size:,} "
                "in the archive"
            )
        if announced > memory_bytes():
            raise ValueError(f"{name} takes {announced:,} bytes, and this machine has {memory_bytes():,}")
    return headers


def prove_headers(file: Path, headers: Mapping[str, Header], parts: Sequence[str]) -> None:
    """Proves that parts of an archive, training the first, are there in pairs, with images of one type and size.

    Raises:
        DataError: They are not.
    """
    for part in parts:
        images, labels = (headers.get(f"{kind}_{part}") for kind in "xy")
        if images is None and labels is None and part != "train":
            continue
        if images is None or labels is None:
            found = ", ".join(headers) or "neither"
            raise DataError(f"{file}: needs the arrays x_{part} and y_{part}; of those that are read it holds {found}")
        train = headers["x_train"]
        if images.dtype != train.dtype:
            raise DataError(
                f"{file}: x_{part} must have the type of x_train, {train.dtype}, and mean the same by each value; got "
                f"{images.dtype}. Write both alike"
            )
        if images.dtype.kind not in "iufO":  # NumPy refuses objects
            raise DataError(f"{file}: x_{part} must be numbers; got {images.dtype}")
        shape = channels_first(images.shape, f"{file}: x_{part}")
        if labels.dtype.kind not in "iuUO" or len(labels.shape) != 1:
            raise DataError(
                f"{file}: y_{part} must be whole numbers or words, (images,); got {labels.dtype}, {labels.shape}"
            )
        if labels.shape != shape[:1]:
            raise DataError(
                f"{file}: {part}: needs one label for each image; got {shape[0]} images and {labels.shape[0]} labels"
            )
        if shape[1:] != (wanted := channels_first(train.shape, f"{file}: x_train"))[1:]:
            raise DataError(f"{file}: {part}: images must be {wanted[1:]} as in training; got {shape[1:]}")


def channels_first(shape: tuple[int, ...], origin: str) -> tuple[int, int, int, int]:
    """Returns the shape (images, channels, height, width) of images that are written as (images, height, width), with
    the channels in front or at the end if there are any. Of (images, values), each value is a channel.

    Raises:
        DataError: It is no such shape, or may be two.
    """
    match shape:
        case (images, values):
            return images, values, 1, 1
        case (images, height, width):
            return images, 1, height, width
        case (_, first, _, last) if first in CHANNELS and last in CHANNELS:
            raise DataError(
                f"{origin} may have its channels in front or at the end; got {shape}. Crop or pad the images so that "
                "neither their height nor their width is 1, 3 or 4"
            )
        case (images, first, height, width) if first in CHANNELS:
            return images, first, height, width
        case (images, height, width, last) if last in CHANNELS:
            return images, last, height, width
        case _:
            raise DataError(f"{origin} must be (images, height, width) with 1, 3 or 4 channels or none; got {shape}")


def archive_shape(file: Path) -> tuple[int, int, int]:
    """Returns channels, height and width of an archive's images, proven as by `prove_headers`; no image is read.

    Raises:
        DataError: The archive cannot be used.
    """
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            headers = archive_headers(archive, STUDIED)
    except OSError as error:
        raise DataError(f"{file}: cannot be read as .npz: {reason(error)}. Write it with numpy.savez") from None
    except DAMAGE as error:
        raise DataError(f"{file}: cannot be read as .npz: {error}. Write it with numpy.savez") from None
    prove_headers(file, headers, STUDIED)
    return channels_first(headers["x_train"].shape, f"{file}: x_train")[1:]


def check_user_data(config: DataConfig) -> None:
    """Proves that your own data are where the configuration says, and of one type and size, without reading an image.

    Raises:
        DataError: They are not.
    """
    if isinstance(config, ImageFolder):
        test_fraction(config)
        class_folders(train_folder(config))
    elif isinstance(config, Table):
        if not Path(config.path).expanduser().is_file():
            raise DataError(f"{config.path}: no such file. data.path needs a table, in CSV or Parquet")
    elif isinstance(config, Arrays):
        archive_shape(archive_file(config))
