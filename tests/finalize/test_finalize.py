"""A study's way from its trials to a final result and an export, as a user types it."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.data.loading import load_data, load_test
from pipeline.evaluation.predictor import Predictor
from pipeline.export.reading import load_export
from pipeline.finalize.final_file import load_final
from pipeline.finalize.finalists import best_entries, finals_name, saved_trials
from pipeline.finalize.study_export import export_all, study_model, trial_model
from pipeline.records.final import FINAL_TYPE, Final
from pipeline.storage.internals import storage_of
from pipeline.study.attributes import METRICS
from pipeline.study.cases import Cases
from pipeline.study.studies import open_study
from pipeline.study.trials import best_trials, count_outcomes

Cli = Callable[..., Any]
COMMAND = ("finalize", "small", "--top", 2, "--seeds", 2, "--refit", "--threads", 1, "--workers", 2)


@dataclass(frozen=True)
class Run:
    """A workspace in which a study was finalized, and what that printed."""

    workspace: Workspace
    final: Final
    printed: str

    @property
    def folder(self) -> Path:
        return self.workspace.root


@pytest.fixture(scope="module")
def run(finished: dict[str, Any], cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Run:
    workspace = tmp_path_factory.mktemp("finalized") / "runs"
    shutil.copytree(finished["workspace"], workspace)
    done = cli(*COMMAND, "--workspace", workspace, "--json")
    assert done.returncode == 0, done.stderr
    final = FINAL_TYPE.validate_json(done.stdout.splitlines()[-1])
    return Run(Workspace(workspace), final, done.stderr)


def test_the_best_are_trained_again_with_seeds_that_the_study_has_not_used(run: Run) -> None:
    study = open_study(run.workspace, "small")
    assert {f.trial for f in run.final.finalists} == {trial.number for trial in best_trials(study)[:2]}
    for finalist in run.final.finalists:
        assert set(finalist.values) == {1, 2}
        assert finalist.config["seed"] == 0
        assert finalist.study_value == study.trials[finalist.trial].values[0]
        assert finalist.mean == pytest.approx(sum(finalist.values.values()) / 2)


def test_the_chosen_one_has_the_best_mean(run: Run) -> None:
    means = [finalist.mean for finalist in run.final.finalists if finalist.mean is not None]
    assert len(means) == len(run.final.finalists)
    assert means == sorted(means, reverse=True)
    assert run.final.chosen.values[run.final.seed] == max(run.final.chosen.values.values())


def test_the_models_figures_are_those_of_its_weights_on_the_test_part(run: Run, tmp_path: Path) -> None:
    config = TrialConfig.model_validate(run.final.chosen.config)
    test = load_test(config.data, load_data(config.data))
    assert test is not None
    assert (run.final.split, run.final.num_images) == ("test", len(test))
    model = trial_model(open_study(run.workspace, run.final.finals), run.final.number, run.workspace)
    export_all({tmp_path / "model": model}, predictor=Predictor(), num_checked=8)
    exported = load_export(tmp_path / "model")
    accuracy = float((exported.probabilities(test.images).argmax(1) == test.labels).double().mean())
    assert accuracy == run.final.model_metrics.accuracy == run.final.by_seed[run.final.seed]


def test_the_confusion_matrix_adds_up(run: Run) -> None:
    rows = torch.tensor(run.final.confusion)
    assert int(rows.sum()) == run.final.num_images
    assert int(rows.diag().sum()) / run.final.num_images == run.final.model_metrics.accuracy
    assert [result.images for result in run.final.classes] == rows.sum(1).tolist()
    assert len(run.final.misclassified) == min(24, int(rows.sum() - rows.diag().sum()))


def test_ensembles_are_measured_beside_it(run: Run) -> None:
    assert [ensemble.name for ensemble in run.final.ensembles] == ["seeds", "top", "greedy"]
    seeds, top, greedy = run.final.ensembles
    chosen = run.final.chosen.trial
    assert set(seeds.members) == {f"trial {chosen}, seed 1", f"trial {chosen}, seed 2"}
    assert len(top.members) == 2
    assert seeds.num_parameters == 2 * run.final.num_parameters
    alone = max(finalist.values[seed] for finalist in run.final.finalists for seed in finalist.values)
    assert greedy.valid_accuracy >= alone - 0.05  # chosen by likelihood, on these images


def test_how_fast_and_how_large_it_is(run: Run) -> None:
    assert [speed.batch_size for speed in run.final.speed] == [1, 256]
    assert all(speed.latency_ms > 0.0 for speed in run.final.speed)
    assert run.final.size_bytes > 4 * run.final.num_parameters
    assert run.final.monte_carlo is None  # it has no dropout


def test_the_finals_are_a_study_with_all_its_models(run: Run) -> None:
    finals = open_study(run.workspace, run.final.finals)
    assert run.final.finals == "small-final"
    assert count_outcomes(finals.get_trials())["complete"] == 4
    assert len(saved_trials(finals, run.workspace)) == 4


def test_a_second_call_measures_nothing(run: Run, cli: Cli) -> None:
    done = cli(*COMMAND, "--workspace", run.folder, "--json")
    assert done.returncode == 0, done.stderr
    assert "exists already, and is not measured again" in done.stderr
    assert FINAL_TYPE.validate_json(done.stdout.splitlines()[-1]) == run.final
    assert load_final(run.workspace, "small") == run.final


def test_the_best_is_the_chosen_configuration(run: Run, cli: Cli) -> None:
    done = cli("best", "small", "--workspace", run.folder)
    chosen = run.final.chosen
    said = f"trial {chosen.trial}, chosen by dnntune finalize: mean valid_accuracy {chosen.mean:.4f} over 2 fresh seeds"
    assert done.stdout.startswith(f"# study small, {said}")


def test_other_finalists_are_another_study(run: Run) -> None:
    study = open_study(run.workspace, "small")
    config = TrialConfig.model_validate(best_trials(study)[0].user_attrs["config"])
    assert finals_name(storage_of(study), "small", Cases({"trial 9": config}, 2)) == "small-final-2"


def test_the_refitted_model_is_exported_with_its_figures(run: Run, tmp_path: Path) -> None:
    export_all({tmp_path / "model": study_model("small", run.workspace)}, predictor=Predictor())
    exported = load_export(tmp_path / "model")
    assert run.final.refit is not None
    assert exported.metrics["test_accuracy"] == run.final.refit.accuracy
    card = (tmp_path / "model" / "README.md").read_text()
    assert "it was trained on training and validation images together" in card
    config = exported.config
    test = load_test(config.data, load_data(config.data))
    assert test is not None
    hits = (exported.probabilities(test.images).argmax(1) == test.labels).double().mean()
    assert float(hits) == run.final.refit.accuracy


def test_the_same_study_exports_the_same_bytes(run: Run, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        export_all({folder: study_model("small", run.workspace)}, predictor=Predictor(), num_checked=32)
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}

    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_best_trials_are_exported_side_by_side_or_not_at_all(run: Run, cli: Cli, tmp_path: Path) -> None:
    command = ("export", "small", "--out", tmp_path / "models", "--top", 2, "--images", 16)
    done = cli(*command, "--workspace", run.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("compared on 16 images: the same labels") == 2
    numbers = sorted(trial.number for trial in best_trials(open_study(run.workspace, "small"))[:2])
    folders = [tmp_path / "models" / f"trial-{number:04d}" for number in numbers]
    assert sorted((tmp_path / "models").iterdir()) == folders
    shutil.rmtree(folders[0])
    done = cli(*command, "--workspace", run.folder)
    assert done.returncode == 2
    assert "is an export already" in done.stderr
    assert not folders[0].exists()


def test_a_trials_model_has_the_trials_value(run: Run) -> None:
    study = open_study(run.workspace, "small")
    best = best_trials(study)[0]
    model = trial_model(study, best.number, run.workspace)
    predictor = Predictor()
    labels = predictor.data(model.model.config).valid.labels
    predicted = predictor.log_probabilities(model.model, "valid").argmax(1)
    assert float((predicted == labels).double().mean()) == pytest.approx(best.values[0])


def test_weights_that_are_not_here_are_named(run: Run, tmp_path: Path) -> None:
    study = open_study(run.workspace, "small")
    elsewhere = Workspace(tmp_path, run.workspace.storage_url)
    with pytest.raises(StudyError, match="are not in this workspace"):
        study_model("small", elsewhere)
    with pytest.raises(StudyError, match="has no complete trial 99"):
        trial_model(study, 99, run.workspace)


def test_a_study_without_a_complete_trial_has_no_finalists() -> None:
    study = optuna.create_study()
    study.set_user_attr(METRICS, ["valid_accuracy"])
    with pytest.raises(StudyError, match="has no complete trial yet"):
        best_entries(study, 5)
    with pytest.raises(StudyError, match="was not made by dnntune"):
        best_entries(optuna.create_study(), 5)
