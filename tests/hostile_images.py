"""Images that do harm, or would if they were let."""

import io
import shutil
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

GHOSTSCRIPT = pytest.mark.skipif(
    shutil.which("gs") is None, reason="needs a real Ghostscript, which must not be run: apt-get install ghostscript"
)


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (16, 12), **settings: object) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(file, kind, **settings)
    return file.getvalue()


def postscript(program: str) -> bytes:
    """Returns an image that Pillow takes for EPS, whatever its name, and hands to Ghostscript."""
    head = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    return f"{head}{program}\nshowpage\n%%EOF\n".encode()


def png_of(width: int, height: int) -> bytes:
    """Returns a PNG of a few bytes that declares any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + content + chunk(b"IEND", b"")


class Victims(NamedTuple):
    """Files that a program in an image would delete and write: Ghostscript's safe mode lets it, in $TMPDIR."""

    deleted: Path
    written: Path

    @classmethod
    def below(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> "Victims":
        monkeypatch.setenv("TMPDIR", str(folder))
        (folder / "victim").write_text("labels")
        return cls(folder / "victim", folder / "written")

    def programs(self) -> dict[str, bytes]:
        return {
            "deletes": postscript(f"({self.deleted}) deletefile"),
            "hangs": postscript("{} loop"),
            "writes": postscript(f"({self.written}) (w) file dup (x) writestring closefile"),
        }

    def are_unharmed(self) -> bool:
        return self.deleted.read_text() == "labels" and not self.written.exists()
