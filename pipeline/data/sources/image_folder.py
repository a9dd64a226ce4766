"""Your own images in folders: PATH/CLASS/*.jpg, or PATH/train/CLASS/*.jpg, then with PATH/valid and PATH/test."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.config.data import ImageFolder
from pipeline.core.errors import DataError
from pipeline.data.image_files import decode_all, find_images
from pipeline.data.images import Images, Split
from pipeline.data.sources.user_data import DEFAULT_SIZE, class_folders, image_root, test_fraction, train_folder
from pipeline.data.split import split_off_test


class Files(NamedTuple):
    """The images of a part, unread: their files, the class of each by its number, the classes' names, and where."""

    files: list[Path]
    labels: list[int]
    class_names: tuple[str, ...]
    folder: Path


def list_images(config: ImageFolder, split: Split) -> Files | None:
    """Lists a part's images; None where there is no such part.

    A folder is a class; what is hidden (its name begins with a dot) and files without an image's ending are passed
    over.

    Raises:
        DataError: The folders are not as they should be.
    """
    train, fraction = train_folder(config), test_fraction(config)
    class_names = class_folders(train)
    folder = train if split == "train" or (split == "test" and fraction is not None) else image_root(config) / split
    if not folder.is_dir():
        return None
    if strange := sorted(set(class_folders(folder)) - set(class_names)):
        raise DataError(f"{folder / strange[0]}: a class without a folder in {train}")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = sorted(find_images(folder / name))
        if not found and folder == train:
            raise DataError(f"{folder / name}: a class without images. Add some, or remove the folder")
        files += found
        labels += [label] * len(found)
    if fraction is not None and folder == train:
        names = [file.relative_to(train).as_posix() for file in files]
        rows = split_off_test(np.array(labels), names, fraction, str(train))[split == "test"].tolist()
        files, labels = [files[row] for row in rows], [labels[row] for row in rows]
    return Files(files, labels, class_names, folder)


def read_image_folder(config: ImageFolder, split: Split, _folders: Sequence[Path]) -> Images | None:
    """Reads every image (see `pipeline.data.image_files`) as RGB, resized to `image_size`, turned as EXIF says."""
    listed = list_images(config, split)
    if listed is None:
        return None
    pixels = decode_all(listed.files, config.image_size or DEFAULT_SIZE)
    return Images(pixels, np.array(listed.labels, dtype=np.int64), listed.class_names, str(listed.folder))
