"""Image files: found and decoded here and nowhere else, in formats whose decoders start no program."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import open_regular, reason

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow goes by a file's content, whatever its name: a .jpg that is EPS would be run, as a program, by Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
# The most pixels to be decoded; a file of a few bytes may declare any number. Of a JPEG they are counted after its
# decoder has skipped detail, so that photos of any camera fit.
MOST_PIXELS = 2**26
# Of the images that cannot be read so many are named.
MOST_NAMED = 20
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# What Pillow raises of damaged files, found by damaging some thousands.
_DAMAGE = (
    OSError, EOFError, RuntimeError, ValueError, SyntaxError, LookupError, TypeError, ArithmeticError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip


def find_images(folder: Path) -> Iterator[Path]:
    """Yields what has an image's ending in a folder, at any depth, in no order; what is hidden is passed over.

    Whatever is no folder is found, a pipe or a broken link, too: decoding it says what is wrong.
    """
    from PIL import Image

    endings = Image.registered_extensions()
    for file in folder.rglob("*"):
        if (
            file.suffix.lower() in endings
            and not any(name.startswith(".") for name in file.relative_to(folder).parts)
            and not file.is_dir()
        ):
            yield file


def decode(file: Path, shape: tuple[int, int, int]) -> Any:
    """Decodes an image file of one of `FORMATS`: turned as EXIF says, squashed to a size (bilinear).

    Args:
        file: A regular file; 8 bits a channel.
        shape: (channels, height, width); channels are 1 (gray), 3 (RGB) or 4 (RGBA).

    Returns:
        An array of that shape, uint8.

    Raises:
        DataError: It cannot be read; names it.
    """
    from PIL import Image, UnidentifiedImageError

    channels, height, width = shape
    # An image is read or refused; what Pillow thinks of its size or its metadata on top of that tells a user nothing.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        with open_regular(file) as stream, Image.open(stream, formats=FORMATS) as image:
            # Lets the JPEG decoder skip detail that resizing would drop.
            image.draft("L" if channels == 1 else "RGB", (width, height))
            return fit(image, shape)
    except UnidentifiedImageError:
        raise _unreadable(file, f"its content is none of {', '.join(FORMATS)}") from None
    except OSError as error:
        raise _unreadable(file, reason(error)) from None
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise _unreadable(file, str(error) or type(error).__name__) from None


def fit(image: "Image", shape: tuple[int, int, int]) -> Any:
    """Returns an image of Pillow's as `decode` does that of a file.

    Raises:
        ValueError: It has too many pixels, or more than 8 bits a channel.
        Exception: Of its decoder, if it has not been read so far and is damaged.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"its {image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
    if image.mode[0] in "IF":  # Pillow would cut them off at 255
        raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
    turned = ImageOps.exif_transpose(image)
    values = np.asarray(turned.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR))
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def decode_all(files: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """Decodes image files as RGB, side by side.

    Args:
        files: The files.
        size: Height and width in pixels.

    Returns:
        (images, 3, size, size).

    Raises:
        DataError: Some cannot be read; names them.
    """
    pixels = np.empty((len(files), 3, size, size), np.uint8)
    unreadable: list[DataError] = []
    with ThreadPoolExecutor() as threads:  # Pillow decodes outside Python's lock
        for row, image in enumerate(threads.map(lambda file: _decoded(file, (3, size, size)), files)):
            if isinstance(image, DataError):
                unreadable.append(image)
            else:
                pixels[row] = image
    if unreadable:
        raise _all(unreadable)
    return pixels


def _decoded(file: Path, shape: tuple[int, int, int]) -> Any:
    try:
        return decode(file, shape)
    except DataError as error:
        return error


def _all(errors: Sequence[DataError]) -> DataError:
    lines = [str(error) for error in errors[:MOST_NAMED]]
    if len(errors) > len(lines):
        lines.append(f"and {len(errors) - len(lines):,} more images that cannot be read")
    return DataError("\n".join(lines) + f". Repair or remove {'it' if len(errors) == 1 else 'them'}")


def _unreadable(file: Path, why: str) -> DataError:
    return DataError(f"{file}: cannot be read as an image: {why}")
