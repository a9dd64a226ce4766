"""A schedule's chain, as cron would run it."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import InvalidNameError, StudyError
from pipeline.core.names import numbered
from pipeline.core.workspace import Workspace
from pipeline.scheduling.file import load_schedule
from pipeline.scheduling.run import ScheduledRun, studies_of
from pipeline.scheduling.steps import prepare, step_of
from pipeline.storage.open import open_existing
from pipeline.study.attributes import DATA_PROFILE
from pipeline.study.trials import count_outcomes

Cli = Callable[..., Any]
SPACE = """
study: {trials: 3, pruner: none}
space: {data: {kind: digits, max_train_images: 300}, model: {width: {int: [8, 32]}}, epochs: 3}
"""
SCHEDULE = """
space: small.yaml
workers: 2
threads: 1
finals: {top: 1, seeds: 2}
champion: digits
warm_start: {studies: 2, configurations: 2}
"""


@pytest.fixture
def schedule(tmp_path: Path, workspace: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SPACE)
    (tmp_path / "nightly.yaml").write_text(f"{SCHEDULE}workspace: {workspace}\n")
    return tmp_path / "nightly.yaml"


def run_of(schedule: Path, key: str) -> ScheduledRun:
    return ScheduledRun(load_schedule(schedule), key)


def quietly(line: str) -> None:
    """Says nothing."""


@pytest.mark.slow
def test_two_runs_make_a_champion_and_challenge_it(schedule: Path, workspace: Path, cli: Cli) -> None:
    first = cli("schedule-once", schedule, "--run", "monday", "--json")
    assert first.returncode == 0, first.stderr
    results = json.loads(first.stdout.splitlines()[-1])
    assert list(results) == ["check", "prepare", "worker", "finalize", "register", "report", "clean"]
    assert results["worker"]["left"] == 0
    assert results["register"]["version"] == results["register"]["champion"] == 1
    assert Path(results["report"]["report"]).exists()
    again = cli("schedule-once", schedule, "--run", "monday", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["register"]["version"] == 1  # registered once
    second = cli("schedule-once", schedule, "--run", "tuesday", "--json")
    assert second.returncode == 0, second.stderr
    assert "the data are those of the last run" in second.stderr
    assert "starts with 2 configurations of earlier studies" in second.stderr
    storage = open_existing(Workspace(workspace))
    studies = studies_of(storage, "nightly")
    assert [study.study_name for study in studies] == ["nightly-monday", "nightly-tuesday"]
    assert all(count_outcomes(study.get_trials())["complete"] == 3 for study in studies)
    best = max(studies[0].get_trials(), key=lambda trial: trial.values[0])
    assert best.params in [trial.params for trial in studies[1].get_trials()]


def test_a_run_is_prepared_once(schedule: Path) -> None:
    said: list[str] = []
    assert prepare(run_of(schedule, "monday"), said.append)["study"] == "nightly-monday"
    assert prepare(run_of(schedule, "monday"), said.append)["study"] == "nightly-monday"
    assert "exists already, and is resumed" in said[-1]
    assert run_of(schedule, "monday").study().user_attrs[DATA_PROFILE]["images"] > 300


def test_a_space_that_has_changed_is_another_study(schedule: Path, tmp_path: Path) -> None:
    prepare(run_of(schedule, "monday"), quietly)
    (tmp_path / "small.yaml").write_text(SPACE.replace("[8, 32]", "[8, 64]"))
    said: list[str] = []
    assert prepare(run_of(schedule, "monday"), said.append)["study"] == "nightly-monday-2"
    assert "searches another space" in said[0]
    assert run_of(schedule, "monday").study().study_name == "nightly-monday-2"
    (tmp_path / "small.yaml").write_text(SPACE.replace("[8, 32]", "[8, 99]"))
    assert prepare(run_of(schedule, "monday"), quietly)["study"] == "nightly-monday-3"


def test_steps_come_after_prepare(schedule: Path) -> None:
    prepare(run_of(schedule, "monday"), quietly)
    with pytest.raises(StudyError, match="the step prepare comes first"):
        run_of(schedule, "tuesday").study()


def test_there_is_no_other_step() -> None:
    with pytest.raises(StudyError, match="a step is one of check, prepare"):
        step_of("deploy")


def test_names_go_on() -> None:
    assert list(islice(numbered("a-2026-11-27"), 3)) == ["a-2026-11-27", "a-2026-11-27-2", "a-2026-11-27-3"]


def test_a_key_is_a_part_of_a_name(schedule: Path) -> None:
    with pytest.raises(InvalidNameError, match="the name of a run's study must not"):
        run_of(schedule, "../../x")


def test_a_bad_schedule_costs_nothing(schedule: Path, cli: Cli) -> None:
    schedule.write_text(schedule.read_text() + "trails: 3\n")
    done = cli("schedule-show", schedule)
    assert done.returncode == 2
    assert "nightly.yaml:9: trails: unknown setting. Did you mean trials?" in done.stderr


def test_a_schedule_is_shown_with_its_defaults(schedule: Path, cli: Cli) -> None:
    done = cli("schedule-show", schedule)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["name"], shown["workers"], shown["cron"]) == ("nightly", 2, None)
