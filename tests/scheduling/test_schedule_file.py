from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SpaceError
from pipeline.scheduling.config import Schedule
from pipeline.scheduling.file import load_schedule


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def one(text: str, name: str = "nightly.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return one


def problems(path: Path, *overrides: str) -> str:
    with pytest.raises(SpaceError) as caught:
        load_schedule(path, list(overrides))
    return str(caught.value).replace(str(path), path.name)


def test_a_schedule_needs_a_space_and_has_good_defaults(write: Any) -> None:
    file = load_schedule(write("space: digits_mlp\n"))
    assert (file.name, file.schedule) == ("nightly", Schedule(space="digits_mlp"))
    assert file.space().name == "digits_mlp"


def test_every_mistake_comes_with_its_line(write: Any) -> None:
    path = write("cron: every monday\nspace: digits_mlp\nworker: 2\nfinals:\n  seeds: 0\n")
    said = problems(path).splitlines()
    assert [line.partition(": ")[0] for line in said] == ["nightly.yaml:1", "nightly.yaml:3", "nightly.yaml:5"]
    assert "five fields" in said[0]
    assert "Did you mean workers?" in said[1]
    assert "finals.seeds" in said[2]


@pytest.mark.parametrize("cron", ["0 3 * * 1", "*/15 8-18 * * mon-fri", "@weekly"])
def test_times(write: Any, cron: str) -> None:
    assert load_schedule(write(f"space: digits_mlp\ncron: '{cron}'\n")).schedule.cron == cron


def test_a_run_begins_in_one_way(write: Any) -> None:
    assert "by cron or by an asset" in problems(write("space: digits_mlp\ncron: '@daily'\nasset: s3://images\n"))


def test_nothing_but_a_mapping_is_a_schedule(write: Any) -> None:
    assert "a schedule is a mapping" in problems(write("- digits_mlp\n"))
    assert "space" in problems(write("trials: 3\n"))


def test_a_name_that_no_study_could_have(write: Any) -> None:
    for name, rule in {"every night": "letters of ASCII", "..": "begin with", "nul": "Windows"}.items():
        said = problems(write("space: digits_mlp\n", f"{name}.yaml"))
        assert "a schedule's name, its file's, must" in said
        assert rule in said


def test_a_space_beside_the_schedule_comes_first(write: Any) -> None:
    write("space: {data: {kind: digits}, epochs: {int: [1, 2]}}\n", "mine.yaml")
    file = load_schedule(write("space: mine.yaml\ntrials: 7\nset: [epochs=3]\n"))
    space = file.space()
    assert (space.name, space.study.trials, space.space.parameters()) == ("mine", 7, [])


def test_a_study_in_folds_cannot_be_finalized_and_so_not_be_scheduled(write: Any) -> None:
    write("space: {data: {kind: digits, folds: 5}, epochs: {int: [1, 2]}}\n", "mine.yaml")
    with pytest.raises(SpaceError, match=r"data\.folds: a schedule finalizes its studies.*; got folds 5\. Leave folds"):
        load_schedule(write("space: mine.yaml\n")).space()
    assert load_schedule(write("space: mine.yaml\nset: [data.folds=1]\n")).space().name == "mine"


def test_settings_are_overridden_as_on_the_command_line(write: Any) -> None:
    path = write("space: digits_mlp\nworkers: 4\n")
    assert load_schedule(path, ["workers=2", "champion=digits"]).schedule.workers == 2
    assert "--set workers=0" in problems(path, "workers=0")
