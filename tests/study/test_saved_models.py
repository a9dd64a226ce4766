from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pipeline.core.filesystem.folders import MARK
from pipeline.records.results import TrialResult
from pipeline.study.saved_models import SavedModels
from pipeline.study.trials import best_trials, finish


@pytest.fixture(params=["maximize", "minimize"])
def study(request: pytest.FixtureRequest) -> optuna.Study:
    return optuna.create_study(direction=request.param)


def run(study: optuna.Study, kept: SavedModels, quality: float, **fields: Any) -> int:
    """Ends a trial of some quality (more is better) with a network whose weights are its quality."""
    trial = study.ask()
    value = quality if study.direction == optuna.study.StudyDirection.MAXIMIZE else -quality
    kept.save(study, trial.number, value, network(quality))
    finish(study, trial, {"quality": quality}, TrialResult("complete", value=value, **fields))
    kept.remove_others(study)
    return trial.number


def network(quality: float) -> nn.Module:
    module = nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last)
    nn.init.constant_(module.weight, quality)
    return module


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != MARK)


def test_the_best_are_kept_whatever_the_order(study: optuna.Study, tmp_path: Path) -> None:
    kept = SavedModels(tmp_path / "models", 2)
    for quality in (0.5, 0.1, 0.9, 0.3, 0.7):
        run(study, kept, quality)
    assert names(kept.folder) == ["trial-0002.safetensors", "trial-0004.safetensors"]
    for number, quality in ((2, 0.9), (4, 0.7)):
        weight = load_file(kept.file(number))["weight"]
        assert torch.equal(weight, torch.full((2, 1, 3, 3), quality))


def test_what_is_worse_than_all_is_not_written(study: optuna.Study, tmp_path: Path) -> None:
    kept = SavedModels(tmp_path, 1)
    run(study, kept, 0.5)
    kept.save(study, 7, 0.4 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -0.4, network(0.4))
    assert names(tmp_path) == ["trial-0000.safetensors"]


def test_of_equals_the_earlier_one_is_kept(study: optuna.Study, tmp_path: Path) -> None:
    kept = SavedModels(tmp_path, 1)
    run(study, kept, 0.5)
    run(study, kept, 0.5)
    assert names(tmp_path) == ["trial-0000.safetensors"]


def test_a_trial_that_is_about_to_end_keeps_its_weights_while_others_tidy(study: optuna.Study, tmp_path: Path) -> None:
    kept = SavedModels(tmp_path, 1)
    running = study.ask()
    best = 0.9 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -0.9
    kept.save(study, running.number, best, network(0.9))
    other = run(study, kept, 0.5)
    assert names(tmp_path) == ["trial-0000.safetensors", f"trial-{other:04d}.safetensors"]
    finish(study, running, {}, TrialResult("complete", value=best))
    kept.remove_others(study)
    assert names(tmp_path) == ["trial-0000.safetensors"]


def test_a_trial_that_failed_after_all_keeps_nothing(study: optuna.Study, tmp_path: Path) -> None:
    kept = SavedModels(tmp_path, 3)
    trial = study.ask()
    kept.save(study, trial.number, 0.0, network(0.0))
    finish(study, trial, {}, TrialResult("failed"))
    kept.remove_others(study)
    assert names(tmp_path) == []


def test_none_are_kept_if_none_are_wanted(study: optuna.Study, tmp_path: Path) -> None:
    run(study, SavedModels(tmp_path, 0), 0.5)
    assert names(tmp_path) == []


def test_an_equal_trial_that_began_earlier_and_ends_later_is_the_best_and_kept(
    study: optuna.Study, tmp_path: Path
) -> None:
    kept = SavedModels(tmp_path, 1)
    earlier = study.ask()
    run(study, kept, 0.5)
    value = 0.5 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -0.5
    kept.save(study, earlier.number, value, network(0.5))
    finish(study, earlier, {}, TrialResult("complete", value=value))
    kept.remove_others(study)
    assert best_trials(study)[0].number == 0
    assert names(tmp_path) == ["trial-0000.safetensors"]
