"""Whole studies, with real worker processes, real storage and real MLflow."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.records.results import COUNTED
from pipeline.study.trials import outcome_of
from pipeline.tracking.store import open_client
from pipeline.workers.run import run_study
from tests.workers.runs import run, statuses, trials_of


def test_trials_is_the_total_over_all_runs(space_file: Path, workspace: Path) -> None:
    first = run(space_file, workspace, "study.trials=2")
    assert (first.trials["complete"], first.num_left) == (2, 0)
    second = run(space_file, workspace, "study.trials=3")
    assert (second.trials["complete"], second.num_left) == (3, 0)
    assert len(trials_of(workspace)) == 3
    assert statuses(workspace).count("FINISHED") == 3 + 1


def test_one_worker_and_a_seed_repeat_a_study(space_file: Path, workspace: Path, tmp_path: Path) -> None:
    run(space_file, workspace, "study.trials=3")
    (tmp_path / "other").mkdir()
    run(space_file, tmp_path / "other", "study.trials=2")
    run(space_file, tmp_path / "other", "study.trials=3")
    once = [(trial.params, trial.value) for trial in trials_of(workspace)]
    in_two_calls = [(trial.params, trial.value) for trial in trials_of(tmp_path / "other")]
    assert once == in_two_calls


def draw_config(trial: optuna.Trial) -> TrialConfig:
    """What a space cannot say: a bound that depends on a drawn value."""
    layers = trial.suggest_int("layers", 1, 2)
    return TrialConfig.model_validate(
        {
            "data": {"kind": "digits", "max_train_images": 100},
            "model": {"hidden_layers": layers, "width": trial.suggest_int("width", 4, 16 // layers)},
            "epochs": 2,
        }
    )


def draw_nonsense(trial: optuna.Trial) -> TrialConfig:
    """Fails for every real trial; the first call only looks for an example."""
    if trial.study.study_name == "nonsense":
        raise ArithmeticError("never")
    return draw_config(trial)


def test_a_function_draws_what_a_space_cannot_say(workspace: Path) -> None:
    settings = StudyConfig(trials=3)
    summary = run_study(
        draw_config, settings, name="function", workspace=Workspace(workspace), compute=Compute(threads=1)
    )
    assert summary.trials["complete"] == 3
    for trial in trials_of(workspace, "function"):
        assert trial.params["width"] <= 16 // trial.params["layers"]


def test_the_same_failure_three_times_ends_the_study(workspace: Path) -> None:
    with pytest.raises(StudyError, match="3 trials in a row failed with the same error: ArithmeticError: never"):
        run_study(
            draw_nonsense,
            StudyConfig(trials=20),
            name="nonsense",
            workspace=Workspace(workspace),
            compute=Compute(threads=1),
        )
    assert [outcome_of(trial) for trial in trials_of(workspace, "nonsense")] == ["failed"] * 3
    assert set(statuses(workspace)) == {"FAILED"}


def test_nothing_in_a_study_can_read_the_test_split(space_file: Path, workspace: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (80, 4, 4), dtype=np.uint8)
    labels = np.arange(80) % 2
    # the test arrays are no arrays at all: whoever touches them fails
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=labels)
    with zipfile.ZipFile(tmp_path / "mine.npz", "a") as archive:
        archive.writestr("x_test.npy", b"poison")
        archive.writestr("y_test.npy", b"poison")
    summary = run(space_file, workspace, f"data={{kind: arrays, path: {tmp_path / 'mine.npz'}}}", "study.trials=1")
    assert summary.trials["complete"] == 1


def test_a_fixed_configuration_runs_once(space_file: Path, workspace: Path) -> None:
    fixed = ["model={width: 8, hidden_layers: 1}", "optimizer=sgd"]
    summary = run(space_file, workspace, *fixed)
    assert summary.trials["complete"] == 1
    assert summary.num_left == 0


def test_every_counted_trial_is_in_mlflow(finished: dict[str, Any]) -> None:
    client = open_client(Workspace(finished["workspace"]).tracking_url)
    experiment = client.get_experiment_by_name("dnntune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    by_number = {int(run.data.tags["trial"]): run for run in runs}
    for trial in trials_of(finished["workspace"]):
        assert outcome_of(trial) in COUNTED
        run = by_number[trial.number]
        assert run.data.metrics["best_valid_accuracy"] == trial.value
        assert run.data.params["optimizer.kind"] == trial.params["optimizer.kind"]
