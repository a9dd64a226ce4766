"""The command line, run as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.space.files import load_configuration

SLOW_PACKAGES = ("torch", "torchvision", "timm", "mlflow", "optuna", "sklearn", "pandas")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["dnntune", *{arguments!r}]
from pipeline.cli.app import main
try:
    main()
except SystemExit:
    pass
print([name for name in {SLOW_PACKAGES!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "dnntune" in done.stdout
    assert done.stderr.strip() == "[]"


def test_check_needs_no_torch(space_file: Path) -> None:
    code = f"""
import sys
sys.argv = ["dnntune", "check", {str(space_file)!r}]
from pipeline.cli.app import app
app(standalone_mode=False)
print("torch" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "small: valid, 5 free parameters" in done.stdout
    assert "optimizer.kind = adamw" in done.stdout
    assert done.stderr.strip() == "False"


def test_check_draws_configurations_that_train_accepts(cli: Any, space_file: Path, tmp_path: Path) -> None:
    done = cli("check", space_file, "--sample", 2, "--seed", 3)
    drawn = [text for text in done.stdout.split("---\n") if text]
    assert len(drawn) == 2
    assert drawn[0] != drawn[1]
    (tmp_path / "drawn.yaml").write_text(drawn[0])
    assert load_configuration(str(tmp_path / "drawn.yaml")).epochs == 4


def test_run_ends_with_json(finished: dict[str, Any]) -> None:
    summary = finished["json"]
    assert summary["study"] == "small"
    assert summary["trials"] == {"complete": 6, "pruned": 0, "diverged": 0, "failed": 0}
    assert summary["storage"] == f"sqlite:///{finished['workspace'] / 'studies.db'}"
    assert summary["tracking_uri"] == f"sqlite:///{finished['workspace'] / 'mlflow.db'}"
    assert summary["tracking_error"] is None
    assert set(summary["best"]) == {"number", "value", "params", "config"}
    assert summary["seconds"] > 0
    assert finished["done"].stdout.count("\n") == 1


def test_run_tells_a_person_what_happens(finished: dict[str, Any]) -> None:
    said = finished["done"].stderr
    assert "small: digits, 300 images to train on, 143 to validate on, 1 x 8 x 8, 10 classes, on cpu" in said
    assert "[6/6]" in said
    assert "(best so far)" in said
    assert "the best 6 trials, and what differs" in said
    assert "dnntune best small" in said
    assert "Traceback" not in said


def test_run_again_has_nothing_to_do(cli: Any, finished: dict[str, Any]) -> None:
    done = cli("run", finished["file"], "--workspace", finished["workspace"], "--json")
    again = json.loads(done.stdout.splitlines()[-1])
    assert again["trials"] == finished["json"]["trials"]
    assert again["best"] == finished["json"]["best"]


def test_best_is_a_file_that_train_and_run_accept(cli: Any, finished: dict[str, Any], workspace: Path) -> None:
    best = cli("best", "small", "--workspace", finished["workspace"])
    assert best.stdout.startswith("# study small, trial ")
    trained = cli("train", "-", "--threads", 1, "--json", stdin=best.stdout)
    figures = json.loads(trained.stdout.splitlines()[-1])
    for name in ("best_epoch", "test_accuracy", "samples_per_second", "num_parameters", "seconds"):
        assert figures[name] > 0
    # one thread there, one thread here: the same numbers
    assert figures["best_valid_accuracy"] == finished["json"]["best"]["value"]
    run = cli("run", "-", "--workspace", workspace, "--study", "again", "--json", stdin=best.stdout)
    summary = json.loads(run.stdout.splitlines()[-1])
    assert summary["trials"]["complete"] == 1
    assert summary["best"]["value"] == finished["json"]["best"]["value"]


def test_train_prints_epochs_and_test_figures(cli: Any, finished: dict[str, Any]) -> None:
    done = cli(
        "train", finished["file"], "--set", "optimizer=sgd", "--set", "model={hidden_layers: 1, activation: relu}"
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]) == 4
    assert "test accuracy 0." in done.stdout
    assert "95 % interval" in done.stdout
    assert re.search(r"class +\S images \S recall \S precision \S +F1", done.stdout)
    assert "the largest confusions:" in done.stdout


def test_train_measures_what_is_monitored_also_on_the_test_images(cli: Any, finished: dict[str, Any]) -> None:
    settings = ("epochs=1", "optimizer=sgd", "model={hidden_layers: 1}", "early_stopping.monitor='valid_recall:3'")
    done = cli("train", finished["file"], "--json", *(part for each in settings for part in ("--set", each)))
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    three = metrics["evaluation"]["classes"][3]
    assert metrics["evaluation"]["metrics"] == {"recall:3": pytest.approx(three["recall"])}
    assert 0.0 <= metrics["best_valid_recall:3"] <= 1.0
    assert three.keys() == {"name", "images", "precision", "recall", "f1"}
    assert {"label", "predicted", "images", "share"} == metrics["evaluation"]["confusions"][0].keys()
    assert "recall:3 " in done.stderr


def test_leaderboard_shows_what_differs(cli: Any, finished: dict[str, Any]) -> None:
    done = cli("leaderboard", "small", "--workspace", finished["workspace"], "--top", 3)
    assert "the best 3 trials" in done.stdout
    assert "lr 0." in done.stdout
    assert "input_rate" not in done.stdout


def test_studies_are_listed(cli: Any, finished: dict[str, Any]) -> None:
    done = cli("studies", "--workspace", finished["workspace"])
    assert "small" in done.stdout
    assert f"{finished['json']['best']['value']:.4f}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere"], "nowhere: no such file. Known names: cifar10_cnn, cifar10_finetune"),
        (["run", "digits_mlp", "--trials", "0"], "--trials 0: study.trials: must be greater than 0; got 0"),
        (["run", "digits_mlp", "--study", ".."], "the name of a study must begin with a letter"),
        (["check", "digits_mlp", "--set", "epochs=-1"], "--set epochs=-1: epochs: must be greater than 0; got -1"),
        (["train", "digits_mlp"], "this file has 18 parameters: model.hidden_layers"),
        (["best", "nothing"], "there is no study in the workspace runs yet. Create one with dnntune run"),
        (["ui"], "nothing is logged in the workspace runs yet"),
    ],
)
def test_a_mistake_is_a_message_and_an_exit_code(cli: Any, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = cli(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there(cli: Any, workspace: Path, space_file: Path) -> None:
    done = cli("run", space_file, "--workspace", workspace, "--device", "cuda:7")
    assert done.returncode == 2
    assert "there is no device cuda:7" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli("studies", "--workspace", workspace).stdout.count("small") == 0


def test_data_that_are_not_there_cost_nothing(cli: Any, workspace: Path, tmp_path: Path) -> None:
    text = "study: {trials: 3}\nspace: {data: {kind: arrays, path: nowhere.npz}, epochs: {int: [1, 3]}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    done = cli("run", tmp_path / "mine.yaml", "--workspace", workspace)
    assert done.returncode == 2
    assert "nowhere.npz: cannot be read as .npz" in done.stderr
    assert "Traceback" not in done.stderr
    assert "mine" not in cli("studies", "--workspace", workspace).stdout


def test_an_unknown_study_names_the_known_ones(cli: Any, finished: dict[str, Any]) -> None:
    done = cli("best", "smal", "--workspace", finished["workspace"])
    assert done.returncode == 2
    assert "no study named smal in this storage. Did you mean small?" in done.stderr


def test_divergence_is_said_plainly(cli: Any, space_file: Path) -> None:
    settings = ["optimizer={kind: sgd, lr: 1e+30}", "model={}", "schedule=constant"]
    done = cli("train", space_file, *[part for setting in settings for part in ("--set", setting)])
    assert done.returncode == 2
    assert "training diverged" in done.stderr
    assert "Lower optimizer.lr" in done.stderr
