"""Names on the command line and of files: what is none is refused before anything is written or removed."""

from pathlib import Path

import pytest

from pipeline.cli.app import app
from pipeline.core.errors import DnntuneError, InvalidNameError, SpaceError
from pipeline.core.workspace import Workspace
from pipeline.space.files import load_configuration, load_space
from pipeline.workers.run import run_study

FIXED = "space: {data: {kind: digits}, epochs: 1}\n"


def call(*arguments: object) -> None:
    app([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with something of the user's in it, beside something else of theirs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(FIXED)
    (workspace := tmp_path / "w").mkdir()
    (workspace / "precious").write_text("x")
    (tmp_path / "beside").write_text("x")
    return workspace


@pytest.mark.parametrize(
    "arguments",
    [
        "run space.yaml --study ..",
        "run space.yaml --study=-rf",
        "run space.yaml --study a/b",
        f"run space.yaml --study {'a' * 101}",
        "run space.yaml --set study.name=..",
        "run space.yaml --experiment ../../../x",
        "run space.yaml --experiment nul",
        "worker ..",
        "best ../precious",
        "leaderboard ..",
        "report ..",
        "importance ../..",
        "finalize ..",
        "ablate space.yaml --study ..",
        "ui .. --experiment ok",
        "ui --experiment ..",
        "register study --name ../x",
        "register study --name a@champion",
        "export study --out ..",
        "export study --out x/-rf",
        "export study --out .",
        "train space.yaml --export ..",
    ],
)
def test_what_is_no_name_is_refused_at_once(workspace: Path, arguments: str) -> None:
    before = sorted(workspace.parent.rglob("*"))
    with pytest.raises(DnntuneError, match=r"name.* must .*got '"):
        call(*arguments.split(), "--workspace", workspace)
    assert sorted(workspace.parent.rglob("*")) == before


@pytest.mark.parametrize("stem", ["..", "-rf", ".hidden", "a:b", "nul", "a" * 101])
@pytest.mark.usefixtures("workspace")
def test_check_refuses_a_file_that_run_would(stem: str) -> None:
    Path(f"./{stem}.yaml").write_text(FIXED)
    for command in ("check", "run"):
        with pytest.raises(SpaceError, match="a study's name, its file's, must"):
            call(command, f"./{stem}.yaml")
    call("check", f"./{stem}.yaml", "--set", "study.name=mine")
    assert load_configuration(f"./{stem}.yaml").epochs == 1


def test_run_study_refuses_what_is_no_name(workspace: Path) -> None:
    file = load_space("space.yaml")
    with pytest.raises(InvalidNameError, match="the name of a study"):
        run_study(file.space, file.study, name="..", workspace=Workspace(workspace))
    assert [entry.name for entry in workspace.iterdir()] == ["precious"]
