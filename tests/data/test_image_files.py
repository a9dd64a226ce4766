"""Image files of strangers: decoded, or refused with a reason; no program runs, nothing waits, memory is bounded."""

import os
import random
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import features

from pipeline.core.errors import DataError
from pipeline.data import image_files
from pipeline.data.image_files import FORMATS, decode, find_images
from tests.hostile_images import GHOSTSCRIPT, Victims, encoded, png_of

SHAPE = (3, 8, 8)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_decoded_whatever_the_name(kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.fail("Pillow's wheels have AVIF")
    file = tmp_path / "a.png"
    file.write_bytes(encoded(kind, size=(256, 256)))
    pixels = decode(file, (1, 8, 8))
    assert pixels.dtype == np.uint8
    assert (np.diff(pixels[0].astype(int).mean(1)) > 20).all()


@GHOSTSCRIPT
@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("program", ["deletes", "writes", "hangs"])
@pytest.mark.parametrize("name", ["a.jpg", "a.eps", "a.png"])
def test_no_program_in_an_image_runs(name: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victims, file = Victims.below(tmp_path, monkeypatch), tmp_path / name
    file.write_bytes(victims.programs()[program])
    with pytest.raises(DataError, match=f"{name}: cannot be read as an image: its content is none of JPEG, PNG"):
        decode(file, SHAPE)
    assert victims.are_unharmed()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "its content is none of"),
    "text": (b"no image", "its content is none of"),
    "PDF": (b"%PDF-1.4\n", "its content is none of"),
    "EPS with a preview": (struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, 99, 0, 0, 0, 0, 0xFFFF), "its content is none"),
    "Windows metafile": (b"\xd7\xcd\xc6\x9a" + bytes(60), "its content is none of"),
    "Photoshop": (b"8BPS\0\1" + bytes(40), "its content is none of"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "its content is none of"),
    "FITS": (b"SIMPLE  =" + bytes(4000), "its content is none of"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "its content is none of"),
    "PNG of 65,000 x 65,000": (png_of(65_000, 65_000), "exceeds limit"),
    "PNG of 12,000 x 10,000": (png_of(12_000, 10_000), "its 12000 x 10000 pixels are more than 67,108,864"),
    "PNG of 2^31 - 1": (png_of(2**31 - 1, 2**31 - 1), "exceeds limit"),
    "PNG of no pixels": (png_of(0, 0), ""),
    "PNG cut off": (encoded("PNG", size=(200, 200))[:300], "truncated"),
    "JPEG cut off": (encoded("JPEG", size=(200, 200))[:700], "truncated"),
    "GIF cut off": (encoded("GIF")[:30], ""),
    "TIFF cut off": (encoded("TIFF")[:200], ""),
    "WEBP cut off": (encoded("WEBP")[:40], ""),
    "BMP of negative size": (b"BM" + struct.pack("<IHHIIii", 60, 0, 0, 54, 40, -5, 5) + bytes(30), ""),
    "PPM of 10^9 x 10^9": (b"P6 1000000000 1000000000 255\n" + bytes(9), "exceeds limit"),
    "PPM of 30 digits": (b"P6 " + b"9" * 30 + b" 1 255\n", ""),
    "PPM of words": (b"P6 a b c\n", ""),
    "16 bits": (encoded("PNG", "I;16"), "more than 8 bits a channel"),
    "floats": (encoded("TIFF", "F"), "more than 8 bits a channel"),
}


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    content, why = HOSTILE[name]
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    refused = pytest.raises(DataError, match=rf"a\.jpg: cannot be read as an image: .*{why}")
    with warnings.catch_warnings(record=True) as warned, refused as raised:
        decode(file, SHAPE)
    assert "object at 0x" not in str(raised.value)
    assert not warned


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_of_every_kind_is_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    chance, whole, file = random.Random(kind), encoded(kind, size=(24, 20)), tmp_path / "a.jpg"
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 2, 8])):
            content[chance.randrange(min(len(content), chance.choice([40, 10_000])))] = chance.randrange(256)
        file.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        try:
            assert decode(file, SHAPE).shape == SHAPE
        except DataError:
            continue


def test_a_large_photo_is_decoded_at_less_detail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MOST_PIXELS", 64 * 64)
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG", size=(400, 400)))
    (tmp_path / "a.png").write_bytes(encoded("PNG", size=(400, 400)))
    assert decode(tmp_path / "a.jpg", SHAPE).shape == SHAPE
    with pytest.raises(DataError, match="400 x 400 pixels are more than 4,096"):
        decode(tmp_path / "a.png", SHAPE)


@pytest.mark.timeout(60, func_only=True)
def test_a_pipe_is_found_and_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (pipe,) = find_images(tmp_path)
    with pytest.raises(DataError, match=r"pipe\.jpg: cannot be read as an image: it is a pipe"):
        decode(pipe, SHAPE)
