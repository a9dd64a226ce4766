"""The download of data sets, whole or not at all."""

import tempfile
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.data.sources.user_data import how_to_get


def download(what: str, product: str, fetch: Callable[[str], object], folders: Sequence[Path]) -> Path:
    """Downloads a data set into the first folder, one process at a time, whole or not at all.

    Args:
        what: What is missing, for messages.
        product: Folder that `fetch` makes in the folder it is given.
        fetch: Downloads into the folder it is given, verifying checksums; does nothing where all is there.
        folders: See `pipeline.data.sources.user_data.data_folders`.

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
        raise DataError(how_to_get(what, folders, reason)) from None
    return folder
