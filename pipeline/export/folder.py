"""The folder of an export: written whole or not at all, and known to be unchanged before anything of it is used."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.filesystem.files import open_regular, read_bounded, reason
from pipeline.core.names import check_name
from pipeline.export.errors import ExportError

CHECKSUMS = "SHA256SUMS"
FILES = (
    "README.md",
    "config.yaml",
    "environment.json",
    "labels.json",
    "metrics.json",
    "model.onnx",
    "model.pt2",
    "model.safetensors",
    "preprocessing.json",
)
OVERWRITE = "Name another folder, or remove this one"


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Proves that an export may be written to a folder.

    Args:
        folder: The folder.
        overwrite: Whether it may replace another export.

    Raises:
        ExportError: There is something already.
        InvalidNameError: No export can be called so.
    """
    check_name(folder.absolute().name, "an export's folder")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"an export is a folder; {folder} is a file. {OVERWRITE}")
    entries = list(folder.iterdir())
    present = {entry.name for entry in entries}
    if not present:
        return
    # Nothing may be lost that is not of an export; a damaged one may be replaced.
    if CHECKSUMS not in present or not present <= {CHECKSUMS, *FILES} or any(not entry.is_file() for entry in entries):
        raise ExportError(f"an export needs a new or an empty folder; {folder} has something else in it. {OVERWRITE}")
    if not overwrite:
        raise ExportError(f"{folder} is an export already. {OVERWRITE}, or allow to overwrite it")


@contextlib.contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Gives an empty folder to write to, which takes the name asked for when everything in it is written.

    Args:
        folder: The folder asked for; see `check_folder`.
        overwrite: Whether it may replace another export.

    Raises:
        ExportError: There is something already, or the place cannot be written to.
    """
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside it: a name can be changed only within one file system.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as partial:
            (unfinished := Path(partial) / "new").mkdir()
            yield unfinished
            check_folder(folder, overwrite=overwrite)  # again: it has taken a while
            old = Path(partial) / "old"
            if folder.exists():
                folder.rename(old)
            try:
                unfinished.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error.strerror or error}. Name another folder") from error


def write_checksums(folder: Path) -> None:
    """Writes SHA256SUMS, of all files in a folder, as ``sha256sum -c`` takes it."""
    assert {entry.name for entry in folder.iterdir()} == set(FILES)
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in FILES]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="ascii")


def verify(folder: Path) -> None:
    """Proves that a folder has the files of an export and nothing else, each as it was written.

    Raises:
        ExportError: A file is missing, too many, or changed; names it.
    """
    try:
        present = {entry.name for entry in folder.iterdir()}
        if CHECKSUMS not in present:
            raise ExportError(f"{folder} is no export: there is no {CHECKSUMS} in it")
        if missing := sorted(set(FILES) - present):
            raise ExportError(f"{folder / missing[0]} is missing: the export is not complete. Export the model again")
        if extra := sorted(present - {CHECKSUMS, *FILES}):
            raise ExportError(f"{folder / extra[0]} is not part of the export. Move it elsewhere")
        sums = dict(_checksum_lines(read_bounded(folder / CHECKSUMS, 2**16)))
        for name in FILES:
            if sums.get(name) != _sha256(folder / name):
                raise ExportError(
                    f"{folder / name} is not as it was exported: its checksum is another than in {CHECKSUMS}. "
                    "Export the model again"
                )
    except OSError as error:
        raise ExportError(f"{error.filename or folder} cannot be read as an export: {reason(error)}") from None


def _checksum_lines(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.decode("ascii", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest


def _sha256(file: Path) -> str:
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
