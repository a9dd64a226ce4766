from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.filesystem.folders import MARK, make_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def made(folder: Path) -> Path:
    make_folder(folder)
    (folder / "file").write_text("x")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_text("x")
    return folder


def test_what_dnntune_has_made_goes(workspace: Path) -> None:
    folder = made(workspace / "checkpoints" / "s")
    assert remove_folder(folder, below=workspace)
    assert not folder.exists()
    assert folder.parent.is_dir()
    assert not remove_folder(folder, below=workspace)


def test_a_folder_that_was_there_stays(workspace: Path) -> None:
    (folder := workspace / "mine").mkdir()
    made(folder)
    assert not remove_folder(folder, below=workspace)
    assert (folder / "file").exists()


def test_the_workspace_and_what_is_outside_stay(workspace: Path) -> None:
    made(outside := workspace.parent / "outside")
    (workspace / MARK).write_text("")
    for folder in (workspace, workspace / ".", workspace / "..", outside, workspace / ".." / "outside", Path("/")):
        assert not remove_folder(folder, below=workspace)
    assert (outside / "file").exists()
    assert workspace.exists()


def test_links_lead_nowhere(workspace: Path) -> None:
    made(outside := workspace.parent / "outside")
    (workspace / "link").symlink_to(outside)
    (workspace / "up").symlink_to(workspace.parent)
    assert not remove_folder(workspace / "link", below=workspace)
    assert not remove_folder(workspace / "up" / "outside", below=workspace)
    folder = made(workspace / "s")
    (folder / "out").symlink_to(outside)
    assert remove_folder(folder, below=workspace)
    assert (outside / "deep" / "er" / "file").exists()


def test_a_mark_that_is_a_link_or_a_folder_is_none(workspace: Path) -> None:
    mark = made(workspace / "other") / MARK
    kinds: tuple[Callable[[Path], None], ...] = (lambda path: path.symlink_to(mark), lambda path: path.mkdir())
    for number, put in enumerate(kinds):
        (folder := workspace / f"s{number}").mkdir()
        put(folder / MARK)
        assert not remove_folder(folder, below=workspace)


def test_a_workspace_that_is_a_link_is_the_folder_behind_it(workspace: Path) -> None:
    (link := workspace.parent / "link").symlink_to(workspace)
    folder = made(workspace / "checkpoints" / "s")
    assert remove_folder(link / "checkpoints" / "s", below=link)
    assert not folder.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "runs", "outside", "/"]), max_size=6))
def test_no_path_removes_what_is_not_marked_or_not_below(workspace: Path, parts: list[str]) -> None:
    outside = workspace.parent / "outside"
    for folder in (outside, workspace / "a"):
        if not folder.exists():
            made(folder)
    (workspace / "b").mkdir(exist_ok=True)
    path = workspace.joinpath(*parts)
    is_it = path.exists() and path.resolve() == workspace / "a"
    assert remove_folder(path, below=workspace) == is_it
    assert (outside / "file").exists()
    assert (workspace / "b").exists()


def test_nothing_else_removes_folders() -> None:
    users = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "pipeline").rglob("*.py")
        if "rmtree" in file.read_text() or "removedirs" in file.read_text()
    ]
    assert users == ["pipeline/core/filesystem/folders.py"]
