"""Where data sets are looked for, and where they are downloaded to."""

import os
import tempfile
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from pipeline.core.errors import DataError

ENVIRONMENT_VARIABLE = "DNNTUNE_DATA"


def data_folders(data_dir: str | None) -> list[Path]:
    """Returns the folders to look in: ``data_dir``, $DNNTUNE_DATA, and the download folder, those that are set."""
    named = [data_dir, os.environ.get(ENVIRONMENT_VARIABLE)]
    return [*(Path(folder).expanduser() for folder in named if folder), Path.home() / ".cache" / "dnntune" / "data"]


def find_file(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """Returns the first file that exists under one of the names, folder by folder."""
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def download(what: str, product: str, fetch: Callable[[str], object], folders: Sequence[Path]) -> Path:
    """Downloads a data set into the first folder, one process at a time, whole or not at all.

    Args:
        what: What is missing, for messages.
        product: Folder that `fetch` makes in the folder it is given.
        fetch: Downloads into the folder it is given, verifying checksums; does nothing where all is there.
        folders: See `data_folders`.

    Raises:
        DataError: It cannot be fetched, or its checksum is wrong.
    """
    from filelock import FileLock

    folder = folders[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{product}.lock"):
            if (folder / product).exists():  # in part; or another process has fetched it meanwhile
                fetch(str(folder))
            else:  # elsewhere first: who looks for the files finds none of them half written
                with tempfile.TemporaryDirectory(dir=folder, prefix=f".{product}-") as unfinished:
                    fetch(unfinished)
                    (Path(unfinished) / product).rename(folder / product)
    except (OSError, RuntimeError, HTTPException) as error:  # torchvision's: no network, a wrong checksum, no answer
        reason = " ".join(str(error).split()).rstrip(".")  # torchvision's has several lines
        raise DataError(
            f"{what} is in none of {', '.join(map(str, folders))} and cannot be downloaded: {reason}. "
            f"Put its files there, or name their folder with --data-dir or ${ENVIRONMENT_VARIABLE}"
        ) from None
    return folder
