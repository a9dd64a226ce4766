"""Whole studies of two metrics on real data."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.data.image_data import ImageData
from pipeline.records.results import TrialResult
from pipeline.search.multi_objective import MultiObjectiveStudy, MultiObjectiveTrial
from pipeline.space.files import SpaceFile, load_space
from pipeline.space.overrides import Override
from pipeline.storage.internals import storage_of, study_id
from pipeline.study.creation import create_or_resume
from pipeline.study.studies import UNEXPLAINED, metrics_of, open_study, recover_trials, stored_definition
from pipeline.study.summary import StudySummary
from pipeline.study.trials import outcome_of, result_of
from pipeline.tracking.store import find_runs, open_client
from pipeline.workers.objective import run_trial
from pipeline.workers.run import run_study

# Many a trial is hopeless from its first epoch.
SPACE = """
study:
  metrics: [valid_accuracy, latency_ms]
  trials: 10
  seed: 3
  sampler: random
  pruner: {kind: median, startup_trials: 2, warmup_epochs: 1}
space:
  data: {kind: digits, max_train_images: 200}
  model: {hidden_layers: {int: [1, 4]}, width: {int: [4, 64], log: true}}
  optimizer: {kind: sgd, lr: {float: [1e-4, 1.0], log: true}}
  epochs: 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "two.yaml"
    file.write_text(SPACE)
    return file


def read(file: Path, *settings: str) -> SpaceFile:
    return load_space(str(file), [Override.parse(setting) for setting in settings])


def run(file: Path, workspace: Path, *settings: str) -> StudySummary:
    loaded = read(file, *settings)
    return run_study(
        loaded.space, loaded.study, name=loaded.name, workspace=Workspace(workspace), compute=Compute(threads=1)
    )


def trials_of(workspace: Path, name: str = "two") -> list[FrozenTrial]:
    return open_study(Workspace(workspace), name).trials


def accuracies(trials: list[FrozenTrial]) -> list[tuple[str | None, dict[int, float], float | None]]:
    """What of trials does not depend on the machine's speed."""
    return [
        (outcome_of(trial), trial.intermediate_values, trial.values[0] if trial.state == TrialState.COMPLETE else None)
        for trial in trials
    ]


@pytest.mark.slow
def test_the_first_metric_prunes_the_same_trials_as_alone_and_after_an_interruption(
    file: Path, workspace: Path
) -> None:
    assert run(file, workspace, "study.trials=4").num_left == 0
    summary = run(file, workspace)
    alone = run(file, workspace, "study.metrics=valid_accuracy", "study.name=alone")
    trials = trials_of(workspace)
    assert accuracies(trials) == accuracies(trials_of(workspace, "alone"))
    assert summary.trials == alone.trials
    assert summary.trials["pruned"] > 0
    assert summary.trials["complete"] > 2
    for trial in trials:
        result = result_of(trial)
        assert result is not None
        assert (result.latency_ms is not None) == (trial.values is not None) == (result.outcome == "complete")
        if trial.values is not None:
            assert trial.values == [result.best_valid_accuracy, result.latency_ms]
            assert 0.0 < trial.values[1] < 1000.0


@pytest.fixture
def study(file: Path) -> MultiObjectiveStudy:
    loaded, storage = read(file), optuna.storages.InMemoryStorage()
    create_or_resume(storage, "two", loaded.study, loaded.space)
    return MultiObjectiveStudy("two", storage, optuna.samplers.RandomSampler(seed=0), optuna.pruners.NopPruner())


def test_a_trial_that_takes_over_a_result_takes_over_its_latency(
    study: MultiObjectiveStudy, config: Callable[..., TrialConfig], small_data: ImageData
) -> None:
    for _ in range(2):
        run_trial(
            study,
            MultiObjectiveTrial(study, storage_of(study).create_new_trial(study_id(study))),
            sample=lambda trial: config(),
            settings=StudyConfig(metrics=("valid_accuracy", "latency_ms")),
            load=lambda config: small_data,
            emit=lambda event: None,
            stopping=lambda: False,
        )
    first, second = map(result_of, study.trials)
    assert isinstance(first, TrialResult)
    assert isinstance(second, TrialResult)
    assert (second.duplicate_of, second.latency_ms) == (0, first.latency_ms)


def test_what_a_dead_process_left_running_waits_and_fails_in_the_end(study: MultiObjectiveStudy) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    recover_trials(study, retries=1)
    assert study.trials[0].state == TrialState.WAITING
    study.ask()
    recover_trials(study, retries=1)
    result = result_of(study.trials[0])
    assert result is not None
    assert str(result.reason).startswith(UNEXPLAINED)


def test_a_study_carries_its_metrics_and_keeps_them(study: MultiObjectiveStudy, file: Path) -> None:
    _, settings = stored_definition(study)
    assert settings.metrics == metrics_of(study) == ("valid_accuracy", "latency_ms")
    assert settings.directions == ("maximize", "minimize")
    for metrics in ("valid_accuracy", "[valid_accuracy, num_parameters]"):
        other = read(file, f"study.metrics={metrics}")
        with pytest.raises(StudyError, match="optimizes valid_accuracy, latency_ms, and not valid_accuracy"):
            create_or_resume(storage_of(study), "two", other.study, other.space)


def test_further_metrics_are_a_studys_as_any(file: Path, workspace: Path) -> None:
    settings = ("study.metrics=[valid_macro_f1, 'valid_recall:3']", "early_stopping.monitor=valid_macro_f1")
    summary = run(file, workspace, *settings, "study.trials=3", "study.pruner=none")
    complete = [trial for trial in trials_of(workspace) if trial.state == TrialState.COMPLETE]
    assert len(complete) == 3
    for trial in complete:
        result = result_of(trial)
        assert result is not None
        assert trial.values == [result.metric_value("valid_macro_f1"), result.metric_value("valid_recall:3")]
        assert trial.values[0] == max(trial.intermediate_values.values())
        assert trial.values[0] != result.best_valid_accuracy
    assert summary.best is not None
    assert summary.best.value == max(trial.values[0] for trial in complete)
    client = open_client(Workspace(workspace).tracking_url)
    (experiment,) = (one for one in client.search_experiments() if one.name != "Default")
    logged = [run.data.metrics for run in find_runs(client, experiment.experiment_id, "tags.kind = 'trial'")]
    values = [[one["best_valid_macro_f1"], one["best_valid_recall/3"]] for one in logged]
    assert sorted(values) == sorted(trial.values for trial in complete)
    assert all({"valid_macro_f1", "valid_recall/3"} <= one.keys() for one in logged)
