"""Names that lead elsewhere, pass for options, or cannot be a folder: wherever a command takes one."""

from pathlib import Path

import pytest

from tests.attacks.harness import Case, answered

BEGIN = "must begin with a letter, a digit or an underscore"
CHARACTERS = 'must not have any of / \\ : * ? " < > |'
END = "must not end with a dot or a space"
LENGTH = "must have at most 100 characters, and 200 bytes"
DEVICE = "must not be one that Windows keeps for a device"
BAD_NAMES = {
    "": "must not be empty",
    ".": BEGIN,
    "..": BEGIN,
    "...": BEGIN,
    "../x": BEGIN,
    "../../../x": BEGIN,
    "/": BEGIN,
    "/etc/x": BEGIN,
    ".hidden": BEGIN,
    " x": BEGIN,
    "~": BEGIN,
    "~root": BEGIN,
    "$(touch X)": BEGIN,
    "\x1b[31mred": BEGIN,
    "\N{ZERO WIDTH SPACE}x": BEGIN,
    "a/b": CHARACTERS,
    "a/../../b": CHARACTERS,
    "a\\b": CHARACTERS,
    "a:b": CHARACTERS,
    "c:\\windows": CHARACTERS,
    "a*": CHARACTERS,
    "a?b": CHARACTERS,
    'a"b': CHARACTERS,
    "a<b>": CHARACTERS,
    "a|b": CHARACTERS,
    "a\nb": CHARACTERS,
    "a\tb": CHARACTERS,
    "a\x7f": CHARACTERS,
    "a\N{RIGHT-TO-LEFT OVERRIDE}b": CHARACTERS,
    "a\x1b]0;title\x07": CHARACTERS,
    "a.": END,
    "a..": END,
    "a ": END,
    "x" * 101: LENGTH,
    "x" * 50_000: LENGTH,
    "\N{FULL BLOCK}" * 100: BEGIN,
    "ä" * 101: LENGTH,
    "字" * 90: LENGTH,
    "nul": DEVICE,
    "COM1": DEVICE,
    "con.txt": DEVICE,
}
# Where a name is given: arguments before it, and what it names.
PLACES = {
    "run --study": (("run", "digits_mlp", "--study"), "a study"),
    "run --experiment": (("run", "digits_mlp", "--experiment"), "an experiment"),
    "best": (("best", "--"), "a study"),
    "worker": (("worker", "--"), "a study"),
    "register --name": (("register", "a", "--name"), "a registered model"),
    "ablate --study": (("ablate", "lecture_deep", "--study"), "a study"),
}


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:20]))
@pytest.mark.parametrize("place", PLACES)
def test_a_bad_name(place: str, name: str, tmp_path: Path) -> None:
    arguments, what = PLACES[place]
    said = (f"the name of {what} {BAD_NAMES[name]}", "Give another one")
    answered(Case(name, (*arguments, name), said), tmp_path)


@pytest.mark.parametrize("name", ["...", "-rf", "a:b", "nul", " a", "a\nb", "x" * 101])
def test_a_space_file_whose_name_is_no_study_s(name: str, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{name}.yaml": "space: {data: {kind: digits}}"}
    case = Case(name, ("check", "--", f"./{name}.yaml"), ("a study's name, its file's, must", "Rename the file"), files)
    answered(case, tmp_path)


@pytest.mark.parametrize("name", ["a", "7", "_x", "fashion mnist", "Kleider-Größe", "衣服", "a.b", "x" * 100])
def test_a_good_name_is_looked_for(name: str, tmp_path: Path) -> None:
    answered(Case(name, ("best", name), ("no study in the workspace",)), tmp_path)
