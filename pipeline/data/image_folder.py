"""Your own images in folders: PATH/train/CLASS/*.jpg, and PATH/valid and PATH/test in the same way if you have them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import DataConfig
from pipeline.data.images import Images, Part
from pipeline.errors import DataError

DEFAULT_SIZE = 64


def read_image_folder(part: Part, config: DataConfig, folders: Sequence[Path]) -> Images | None:
    """Reads every image that Pillow can read, as RGB, resized to `image_size` (bilinear), turned as EXIF says.

    A folder is a class; what is hidden (its name begins with a dot) and files without an image's ending are passed
    over.
    """
    assert config.path is not None
    root = Path(config.path).expanduser()
    class_names = _class_names(root / "train")
    if not (root / part).is_dir():
        return None
    if strange := sorted(set(_class_names(root / part)) - set(class_names)):
        raise DataError(f"{root / part / strange[0]}: a class without a folder in {root / 'train'}")
    files, labels = [], []
    for label, name in enumerate(class_names):
        found = _image_files(root / part / name)
        if not found and part == "train":
            raise DataError(f"{root / part / name}: a class without images. Add some, or remove the folder")
        files += found
        labels += [label] * len(found)
    size = config.image_size or DEFAULT_SIZE
    pixels = np.empty((len(files), 3, size, size), np.uint8)
    with ThreadPoolExecutor() as threads:  # Pillow decodes outside Python's lock
        for row, image in enumerate(threads.map(lambda file: _read_image(file, size), files)):
            pixels[row] = image
    return Images(pixels, np.array(labels, dtype=np.int64), class_names, str(root / part))


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. data.path needs train/ with a folder for each class")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(names) < 2:
        raise DataError(f"{folder}: needs a folder for each of at least 2 classes; got {len(names)}")
    return names


def _image_files(folder: Path) -> list[Path]:
    from PIL import Image

    if not folder.is_dir():
        return []
    endings = Image.registered_extensions()
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in endings
        and not any(name.startswith(".") for name in file.relative_to(folder).parts)
        and file.is_file()
    )


def _read_image(file: Path, size: int) -> Any:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.draft("RGB", (size, size))  # lets the JPEG decoder skip detail that resizing would drop
            if image.mode[0] in "IF":  # Pillow would cut them off at 255
                raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
            turned = ImageOps.exif_transpose(image)
            pixels = np.asarray(turned.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, RuntimeError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: cannot be read as an image: {error}. Repair or remove it") from None
    return pixels.transpose(2, 0, 1)
