"""Where your own images are, found by those who read them and by those who only check: no torch here."""

from pathlib import Path

from pipeline.config import DataConfig
from pipeline.errors import DataError


def image_root(config: DataConfig) -> Path:
    """Returns the folder of an image_folder."""
    assert config.path is not None
    return Path(config.path).expanduser()


def class_folders(folder: Path) -> tuple[str, ...]:
    """Returns the names of the classes that have a folder; what is hidden is none.

    Raises:
        DataError: There is no such folder, or there are not at least 2 classes.
    """
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        raise DataError(f"{folder}: cannot be looked into: {error.strerror}") from None
    if not is_folder:
        raise DataError(f"{folder}: no such folder. data.path needs train/ with a folder for each class")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(names) < 2:
        raise DataError(f"{folder}: needs a folder for each of at least 2 classes; got {len(names)}")
    return names


def archive_file(config: DataConfig) -> Path:
    """Returns the file of arrays.

    Raises:
        DataError: There is no such file.
    """
    assert config.path is not None
    file = Path(config.path).expanduser()
    try:
        is_file = file.is_file()
    except OSError as error:
        raise DataError(f"{file}: cannot be read as .npz: {error.strerror}") from None
    if not is_file:
        what = "it is not a regular file" if file.exists() else "no such file"
        raise DataError(f"{file}: cannot be read as .npz: {what}. Write it with numpy.savez")
    return file


def prove_there(config: DataConfig) -> None:
    """Proves that your own data are where the configuration says, without reading an image.

    Raises:
        DataError: They are not.
    """
    if config.name == "image_folder":
        class_folders(image_root(config) / "train")
    elif config.name == "arrays":
        archive_file(config)
