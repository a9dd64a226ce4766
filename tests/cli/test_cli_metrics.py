"""A study of two metrics as a user runs it: two workers, TPE, Hyperband."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.workspace import Workspace
from pipeline.space.files import load_configuration
from pipeline.tracking.store import open_client
from tests.conftest import Cli

pytestmark = pytest.mark.slow

SPACE = """
study:
  metrics: [valid_accuracy, latency_ms]
  trials: 10
  sampler: {kind: tpe, startup_trials: 3}
  pruner: {kind: hyperband, min_epochs: 1}
space:
  data: {kind: digits, max_train_images: 200}
  model: {hidden_layers: {int: [1, 4]}, width: {int: [4, 64], log: true}}
  optimizer: {kind: sgd, lr: {float: [1e-4, 1.0], log: true}}
  epochs: 3
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path, cli: Cli) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two")
    (folder / "runs").mkdir()
    shutil.copy(mlflow_tables, folder / "runs" / "mlflow.db")
    (folder / "two.yaml").write_text(SPACE)
    done = cli("run", folder / "two.yaml", "--workers", 2, "--threads", 1, "--workspace", folder / "runs", "--json")
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "workspace": folder / "runs", "said": done.stderr}


def test_the_front_is_told_and_marked(two: dict[str, Any], cli: Cli) -> None:
    assert sum(two["trials"].values()) == 10
    assert two["trials"]["failed"] == 0
    best = two["pareto_front"][0]
    assert best["values"]["valid_accuracy"] == two["best"]["value"]
    assert set(best["values"]) == {"valid_accuracy", "latency_ms"}
    assert f"dnntune best two --within 0.005 --prefer latency_ms --workspace {two['workspace']}" in two["said"]
    board = cli("leaderboard", "two", "--workspace", two["workspace"])
    assert "front" in board.stdout
    assert "latency_ms" in board.stdout
    assert "valid_accuracy, latency_ms" in cli("studies", "--workspace", two["workspace"]).stdout


def test_every_metric_of_a_complete_trial_is_in_mlflow(two: dict[str, Any]) -> None:
    client = open_client(Workspace(two["workspace"]).tracking_url)
    point = two["pareto_front"][0]
    (run,) = client.search_runs(["1"], f"tags.trial = '{point['number']}'")
    assert run.data.metrics["latency_ms"] == point["values"]["latency_ms"]
    assert run.data.metrics["best_valid_accuracy"] == point["values"]["valid_accuracy"]


def test_the_fastest_of_all_can_be_had_as_a_file(two: dict[str, Any], cli: Cli, tmp_path: Path) -> None:
    options = ("--workspace", two["workspace"])
    done = cli("best", "two", "--within", 1, "--prefer", "latency_ms", *options)
    first, second, _ = done.stdout.split("\n", 2)
    fastest = two["pareto_front"][-1]
    assert first.startswith(f"# study two, trial {fastest['number']}: valid_accuracy")
    assert second.startswith("# the best latency_ms within 1 of the best valid_accuracy")
    (tmp_path / "fast.yaml").write_text(done.stdout)
    assert load_configuration(str(tmp_path / "fast.yaml")).epochs == 3
    refused = cli("best", "two", "--within", 1, "--prefer", "seconds", *options)
    assert refused.returncode == 2
    assert "has valid_accuracy, latency_ms, num_parameters; got seconds" in refused.stderr
