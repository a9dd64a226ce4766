"""Image files: found and decoded here and nowhere else, in formats whose decoders start no program."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.filesystem.files import open_regular, reason

# Pillow goes by a file's content, whatever its name: a .jpg that is EPS would be run, as a program, by Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
# The most pixels to be decoded; a file of a few bytes may declare any number. Of a JPEG they are counted after its
# decoder has skipped detail, so that photos of any camera fit.
MOST_PIXELS = 2**26
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
    from PIL import Image, ImageOps, UnidentifiedImageError

    channels, height, width = shape
    # An image is read or refused; what Pillow thinks of its size or its metadata on top of that tells a user nothing.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        with open_regular(file) as stream, Image.open(stream, formats=FORMATS) as image:
            # Lets the JPEG decoder skip detail that resizing would drop.
            image.draft("L" if channels == 1 else "RGB", (width, height))
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"its {image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
            if image.mode[0] in "IF":  # Pillow would cut them off at 255
                raise ValueError(f"it has more than 8 bits a channel (mode {image.mode})")
            turned = ImageOps.exif_transpose(image)
            pixels = turned.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise _unreadable(file, f"its content is none of {', '.join(FORMATS)}") from None
    except OSError as error:
        raise _unreadable(file, reason(error)) from None
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise _unreadable(file, str(error) or type(error).__name__) from None
    values = np.asarray(pixels)
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def _unreadable(file: Path, why: str) -> DataError:
    return DataError(f"{file}: cannot be read as an image: {why}")
