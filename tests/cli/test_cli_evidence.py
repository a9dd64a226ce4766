"""The commands that give evidence, run as a user runs them: diagnose, lr-find, ablate, importance and train."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.app import main
from pipeline.core.workspace import Workspace
from pipeline.space.files import load_space
from pipeline.study.studies import open_study
from pipeline.study.trials import outcome_of
from pipeline.tracking.store import open_client

SIGMOID = """
space:
  data: {kind: cifar10}  # which is not there: random images take its place
  model: {hidden_layers: 12, width: 20, activation: sigmoid, batch_norm: none}
  optimizer: {kind: sgd, lr: 0.01}
"""
# Three cases: as it is, without batch normalization, and with sigmoid.
PLAIN = """
space:
  data: {kind: digits, max_train_images: 300}
  model: {hidden_layers: 1, width: 16, initialization: torch}
  optimizer: {kind: sgd, lr: 0.1}
  schedule: constant
  early_stopping: {patience: null}
  epochs: 3
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(text)
    return file


def run_of(workspace: Workspace, kind: str) -> list[Any]:
    client = open_client(workspace.tracking_url)
    experiment = client.get_experiment_by_name("dnntune")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'"))


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path, cli: Any) -> dict[str, Any]:
    """An ablation of two seeds on two workers."""
    folder = tmp_path_factory.mktemp("ablated")
    (folder / "runs").mkdir()
    shutil.copy(mlflow_tables, folder / "runs" / "mlflow.db")
    options = ("--seeds", 2, "--workers", 2, "--threads", 1, "--workspace", folder / "runs", "--json")
    command = ("ablate", write(folder, PLAIN), *options)
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {"json": found, "done": done, "command": command, "store": Workspace(folder / "runs")}


def test_diagnose_needs_no_data(cli: Any, tmp_path: Path) -> None:
    file = write(tmp_path, SIGMOID)
    done = cli("diagnose", file, "--random-images", "3x8x8", "--steps", 20, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["verdict"]["label"] == "vanishing"
    assert [layer["layer"] for layer in found["layers"]] == list(range(1, 14))
    assert found["tried"][0]["verdict"]["label"] == "healthy"
    assert "vanishing: sigmoid with Glorot's initialization" in done.stderr
    assert "what helps, tried for as many steps:" in done.stderr


def test_lr_find_draws_and_suggests_what_can_be_pasted(cli: Any, tmp_path: Path) -> None:
    file = write(tmp_path, PLAIN)
    figure = tmp_path / "new" / "range.svg"
    done = cli("lr-find", file, "--steps", 150, "--low", 1e-5, "--figure", figure, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"<?xml")
    assert f"figure: {figure}" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("lr: {float:")]
    file.write_text(PLAIN.replace("{kind: sgd, lr: 0.1}", f"\n    kind: sgd\n    {line}"))
    (parameter,) = load_space(str(file)).space.parameters()
    assert parameter.name == "optimizer.lr"
    assert not (tmp_path / "runs").exists()


def test_lr_find_refuses_an_empty_range(cli: Any, tmp_path: Path) -> None:
    done = cli("lr-find", write(tmp_path, PLAIN), "--low", 1.0, "--high", 0.1, cwd=tmp_path)
    assert done.returncode == 2
    assert "--low must lie above 0 and below --high; got 1 and 0.1" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_ablation_has_a_row_for_each_case(ablated: dict[str, Any]) -> None:
    found = ablated["json"]
    assert found["study"] == "ablation-mine"
    assert found["trials"] == {"complete": 6, "pruned": 0, "diverged": 0, "failed": 0}
    assert (found["num_left"], found["tracking_error"]) == (0, None)
    full, *others = found["rows"]
    assert full["case"] == "full"
    assert {row["case"] for row in others} == {"batch_norm: none", "activation: sigmoid"}
    assert [row["difference"] for row in others] == sorted(row["difference"] for row in others)
    for row in found["rows"]:
        assert set(row["values"]) == {"0", "1"}
        assert row["epochs"] == 3.0
        for seed, value in row["values"].items():
            assert row["differences"][seed] == pytest.approx(value - full["values"][seed])
    # the same seeds, but not the same trainings
    assert any(difference != 0.0 for row in others for difference in row["differences"].values())


def test_an_ablation_tells_a_person_what_it_found(ablated: dict[str, Any]) -> None:
    said = ablated["done"].stderr
    assert "ablation-mine: each technique switched off, alone; 2 seeds" in said
    assert "nothing (full)" in said
    assert "[6/6]" in said
    assert "Traceback" not in said


def test_an_ablation_lies_under_one_run_with_its_figure(ablated: dict[str, Any]) -> None:
    workspace = ablated["store"]
    figure = workspace.root / "figures" / "ablation-mine.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    (parent,) = run_of(workspace, "study")
    client = open_client(workspace.tracking_url)
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert {"ablation.png", "ablation.csv"} <= names
    text = Path(client.download_artifacts(parent.info.run_id, "ablation.csv")).read_text()
    assert len(text.splitlines()) == 1 + 6
    trials = run_of(workspace, "trial")
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    cases = sorted((run.data.params["case"], run.data.params["seed"]) for run in trials)
    assert cases == sorted((row["case"], seed) for row in ablated["json"]["rows"] for seed in ("0", "1"))


def test_the_same_ablation_again_trains_nothing(cli: Any, ablated: dict[str, Any]) -> None:
    before = [trial.datetime_complete for trial in open_study(ablated["store"], "ablation-mine").trials]
    done = cli(*ablated["command"])
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout.splitlines()[-1])
    assert again["rows"] == ablated["json"]["rows"]
    trials = open_study(ablated["store"], "ablation-mine").trials
    assert [trial.datetime_complete for trial in trials] == before
    assert {outcome_of(trial) for trial in trials} == {"complete"}
    assert len(run_of(ablated["store"], "trial")) == 6


def test_importance_needs_trials(cli: Any, ablated: dict[str, Any]) -> None:
    done = cli("importance", "ablation-mine", "--workspace", ablated["store"].root)
    assert done.returncode == 2
    assert "importances need 8 complete trials; study ablation-mine has 6. Run more with --trials" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_train_measures_monte_carlo_dropout_beside_the_plain_network(cli: Any, tmp_path: Path) -> None:
    file = write(tmp_path, PLAIN)
    dropout = "model.dropout={kind: dropout, rate: 0.3}"
    done = cli("train", file, "--set", dropout, "--mc-samples", 5, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    evaluation = json.loads(done.stdout.splitlines()[-1])["evaluation"]
    assert evaluation["split"] == "test"
    plain, monte_carlo = evaluation["deterministic"], evaluation["monte_carlo"]
    assert monte_carlo.pop("samples") == 5
    assert set(monte_carlo) == set(plain) == {"accuracy", "log_likelihood", "calibration_error", "entropy"}
    assert monte_carlo["log_likelihood"] != plain["log_likelihood"]
    assert 0.1 < monte_carlo["accuracy"] <= 1.0
    assert "dropout x 5" in done.stderr


def test_monte_carlo_dropout_needs_dropout(cli: Any, tmp_path: Path) -> None:
    done = cli("train", write(tmp_path, PLAIN), "--mc-samples", 5)
    assert done.returncode == 2
    assert "Monte Carlo dropout needs dropout" in done.stderr
    assert "Set model.dropout, or leave --mc-samples out" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose", "digits_mlp"], "a configuration has nothing left to search; this file has 18 parameters"),
        (["lr-find", "digits_mlp"], "a configuration has nothing left to search"),
        (["ablate", "digits_mlp"], "a configuration has nothing left to search"),
        (["diagnose", "FILE", "--random-images", "3x32"], "a shape is CHANNELSxHEIGHTxWIDTH"),
        (["lr-find", "FILE", "--low", "0"], "--low must lie above 0"),
        (["lr-find", "FILE", "--figure", "x.jpeg"], "a figure's file ends in .png, .svg, .pdf; got x.jpeg"),
        (["ablate", "FILE", "--figure", "x"], "a figure's file ends in .png, .svg, .pdf; got x"),
        (["importance", "small", "--figure", "x.tiff"], "a figure's file ends in .png, .svg, .pdf; got x.tiff"),
        (["importance", "small"], "no study in the workspace runs yet"),
    ],
)
def test_a_mistake_costs_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(tmp_path, PLAIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dnntune", *[str(file) if part == "FILE" else part for part in arguments]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert list(tmp_path.iterdir()) == [file]
