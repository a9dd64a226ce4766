"""Trials as rows: for tables in Python, CSV and JSON."""

import csv
import json
from typing import Any

import optuna

from pipeline.core.workspace import Workspace
from pipeline.study.rows import leaderboard_rows, trial_rows
from pipeline.study.studies import open_study
from tests.conftest import Cli


def test_every_trial_is_a_row_with_the_same_columns(finished: dict[str, Any]) -> None:
    rows = trial_rows(open_study(Workspace(finished["workspace"]), "small"))
    assert [row["number"] for row in rows] == list(range(6))
    assert len({tuple(row) for row in rows}) == 1
    best = max(row["valid_accuracy"] for row in rows)
    assert best == finished["json"]["best"]["value"]
    for row in rows:
        kind = row["params_optimizer.kind"]
        assert row[f"params_optimizer.{kind}.lr"] is not None
        assert sum(row[f"params_optimizer.{each}.lr"] is not None for each in ("sgd", "adamw")) == 1
        assert row["started"] < row["ended"]


def test_the_commands_write_the_rows_as_csv_and_json(finished: dict[str, Any], cli: Cli) -> None:
    study, place = open_study(Workspace(finished["workspace"]), "small"), ("--workspace", finished["workspace"])
    expected = [{name: "" if v is None else str(v) for name, v in row.items()} for row in trial_rows(study)]
    for options in ((), ("--csv",)):
        done = cli("trials", "small", *options, *place)
        assert list(csv.DictReader(done.stdout.splitlines())) == expected
    assert json.loads(cli("trials", "small", "--json", *place).stdout) == trial_rows(study)
    board = leaderboard_rows(study, 3)
    assert [row["rank"] for row in board] == [1, 2, 3]
    assert json.loads(cli("leaderboard", "small", "--top", 3, "--json", *place).stdout) == board
    assert len(cli("leaderboard", "small", "--top", 3, "--csv", *place).stdout.splitlines()) == 4
    assert cli("leaderboard", "small", "--csv", "--json", *place).returncode == 2


def test_a_trial_that_waits_has_no_figures() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 1})
    (row,) = trial_rows(study)
    assert (row["outcome"], row["seconds"], row["retry_of"]) == ("waiting", None, None)
