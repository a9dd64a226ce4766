"""Image files as a data set would hold them: found, read and brought to its size and channels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.export.errors import ExportError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Returns the files that are named, and in folders, at any depth, all files with an image's ending, in order.

    What is hidden in a folder is passed over. A file that does not exist is returned: reading it says so.

    Raises:
        ExportError: There is none.
    """
    from PIL import Image

    endings = Image.registered_extensions()
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        files += sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in endings
            and not any(name.startswith(".") for name in file.relative_to(path).parts)
            and file.is_file()
        )
    if not files:
        raise ExportError(f"there must be an image to classify; found none in {', '.join(map(str, paths))}")
    return files


def read_image(file: Path, shape: tuple[int, int, int]) -> Any:
    """Reads an image as `pipeline.data.image_folder` does, turned as EXIF says and squashed to a size.

    Args:
        file: Anything that Pillow reads, of 8 bits a channel.
        shape: (channels, height, width); one channel makes it gray.

    Returns:
        An array of that shape, uint8.

    Raises:
        DataError: It cannot be read; names it.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    try:
        with Image.open(file) as image:
            # As there: lets the JPEG decoder skip detail that resizing would drop.
            image.draft("L" if channels == 1 else "RGB", (width, height))
            if image.mode[0] in "IF":  # Pillow would cut them off at 255
                raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
            turned = ImageOps.exif_transpose(image)
            pixels = turned.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, RuntimeError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{file}: cannot be read as an image: {reason}") from None
    values = np.asarray(pixels)
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def batches(files: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    """Yields files, so many at a time."""
    for start in range(0, len(files), size):
        yield files[start : start + size]
