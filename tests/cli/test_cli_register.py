"""From a study to a served champion, as a user types it."""

import json
from pathlib import Path

import pytest

from tests.conftest import SMALL_SPACE, Cli


@pytest.mark.slow
def test_a_finalized_study_is_registered_once(cli: Cli, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_SPACE.replace("trials: 6", "trials: 2"))
    here = ("--workspace", workspace, "--threads", 1)
    for command in (("run", tmp_path / "small.yaml"), ("finalize", "small", "--top", 1, "--seeds", 1)):
        done = cli(*command, *here)
        assert done.returncode == 0, done.stderr
    final = json.loads((workspace / "final" / "small.json").read_text())
    registered = cli("register", "small", "--name", "digits", *here, "--json")
    assert registered.returncode == 0, registered.stderr
    figures = json.loads(registered.stdout)
    assert {"model": "digits", "version": 1, "is_new": True, "champion": 1}.items() <= figures.items()
    assert figures["reason"] in registered.stderr
    assert figures["serve"].startswith(f"MLFLOW_TRACKING_URI=sqlite:///{workspace}/mlflow.db mlflow models serve")
    again = cli("register", "small", "--name", "digits", *here)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert again.stdout.splitlines()[:2] == [
        "digits, version 1: the same files were registered before",
        "version 1 is the champion: this version is the champion already",
    ]
    (labels,) = workspace.rglob("artifacts/export/labels.json")
    assert json.loads(labels.read_text()) == final["class_names"]


def test_without_a_final_result_it_says_what_to_run_first(cli: Cli, workspace: Path) -> None:
    done = cli("register", "small", "--name", "digits", "--workspace", workspace)
    assert done.returncode == 2
    assert done.stderr.endswith(f"Run dnntune finalize small --workspace {workspace} first\n")
    assert "Traceback" not in done.stderr
