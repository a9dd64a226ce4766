import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import InvalidNameError
from pipeline.core.names import (
    KEPT_CHARACTERS,
    MAX_CHARACTERS,
    broken_plain_rule,
    broken_rule,
    check_name,
    fitting,
    numbered,
)
from pipeline.core.workspace import Workspace

# Anything, and what is more likely to do harm.
TEXTS = st.text() | st.text(st.sampled_from("a_0.-/\\:~ \n\x00\x1b$`'\"*?<>|éCONnul1"), max_size=12)
NAMES = TEXTS.filter(lambda text: broken_rule(text) is None)
GOOD = ["digits_mlp", "_x", "7", "a b", "a$(touch X);b", "it's", "v1.2", "nullable", "console", "Größe", "a" * 100]
BAD = {
    "": "empty",
    "-rf": "begin",
    "..": "begin",
    "...": "begin",
    ".hidden": "begin",
    " a": "begin",
    "a/../../b": "/",
    "a\\b": "/",
    "a:b": "/",
    "a\nb": "seen",
    "a\x1b[31mb": "seen",
    "a\u202eb": "seen",
    "a\ud800": "seen",
    "a.": "end",
    "a ": "end",
    "a" * 101: "100 characters",
    "語" * 67: "200 bytes",
    "nul": "Windows",
    "Com1.txt": "Windows",
    "aux .x": "Windows",
}


@pytest.mark.parametrize("name", GOOD)
def test_names(name: str, tmp_path: Path) -> None:
    assert check_name(name, "a study") == name
    (tmp_path / name).mkdir()


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidNameError, match=r"the name of a study .*Give another") as caught:
        check_name(text, "a study")
    assert BAD[text] in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(NAMES)
def test_a_name_is_one_step_down_on_every_system(name: str) -> None:
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind("w") / name
        assert path.parts == ("w", name)
    assert not PureWindowsPath(name).is_reserved()
    assert not name.startswith("-")


@given(NAMES)
def test_a_name_is_a_folder_here(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).mkdir()
        assert [entry.name for entry in Path(folder).iterdir()] == [name]


@given(TEXTS)
@example("..")
def test_a_study_has_its_files_below_the_workspace_or_is_refused(text: str) -> None:
    workspace = Workspace(Path("/w"))
    for place in (workspace.checkpoints, workspace.models, workspace.final, workspace.report, workspace.lock):
        try:
            path = place(text)
        except InvalidNameError:
            assert broken_rule(text) is not None
        else:
            assert path.resolve() == path
            assert path.parent.parent == Path("/w")


@given(NAMES, st.text(st.sampled_from("ab-1é語"), max_size=120))
def test_derived_names_are_names(name: str, more: str) -> None:
    derived = fitting(f"{name}-{more}x")
    assert broken_rule(derived) is None
    assert derived[:KEPT_CHARACTERS] == f"{name}-{more}x"[:KEPT_CHARACTERS]
    names = numbered(f"{name}-final")
    several = [next(names) for _ in range(12)]
    assert len(set(several)) == 12
    assert all(broken_rule(each) is None for each in several)


def test_texts_that_are_too_long_stay_different() -> None:
    long = "a" * MAX_CHARACTERS
    assert fitting(long) == long
    assert fitting(f"{long}b-final") != fitting(f"{long}c-final")


@given(TEXTS)
def test_a_registered_model_stands_for_itself_in_an_address(text: str) -> None:
    if broken_plain_rule(text) is None:
        assert broken_rule(text) is None
        assert quote(text, safe="") == text


def test_an_experiment_leads_nowhere_else() -> None:
    with pytest.raises(InvalidNameError, match=r"the name of an experiment .*\.\./x"):
        Workspace(Path("w"), experiment="../../../x")
