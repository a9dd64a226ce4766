"""Folders that dnntune makes, and the one way in which it removes any."""

import shutil
import tempfile
from pathlib import Path

from pipeline.core.errors import WorkspaceError
from pipeline.core.filesystem.disk import disk_full

# The file that says so of a folder which dnntune has made, and may remove with all that is in it.
MARK = ".made-by-dnntune"


def make_folder(folder: Path) -> None:
    """Makes a folder that `remove_folder` may remove; one that is there already stays as it is, marked or not.

    Raises:
        OSError: It cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        (folder / MARK).touch()


def use_workspace(folder: Path) -> None:
    """Makes a workspace, if there is none yet, and proves that it can be written to.

    Raises:
        WorkspaceError: It is no folder, or cannot be made or written to.
        DiskFullError: No space is left for it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".dnntune-"):
            pass
    except OSError as error:
        if (full := disk_full(error, folder)) is not None:
            raise full from None
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "it, or a folder above it, is a file" if is_file else error.strerror or str(error)
        raise WorkspaceError(
            f"the workspace {folder} cannot be written to: {reason}. Name another folder with --workspace"
        ) from None


def remove_folder(folder: Path, *, below: Path) -> bool:
    """Removes a folder that `make_folder` has made, with all that is in it, and no other one.

    Args:
        folder: The folder.
        below: The workspace: what is not strictly below it, links looked through, stays.

    Returns:
        Whether it was removed: not if it is no folder, not marked, elsewhere, or cannot be removed.
    """
    try:
        root, real = below.resolve(strict=True), folder.resolve(strict=True)
        if folder.is_symlink() or root not in real.parents or not _is_marked(real):
            return False
        # The mark goes last: a removal that is killed in between is completed by the next one.
        for entry in real.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != MARK:
                entry.unlink()
        (real / MARK).unlink()
        real.rmdir()
    except OSError:  # it is gone, another process writes to it, or the disk does not let us: it is not worth an error
        return False
    return True


def _is_marked(folder: Path) -> bool:
    mark = folder / MARK
    return folder.is_dir() and mark.is_file() and not mark.is_symlink()
