"""Plans: each rule of docs/auto.md, and that every space that can come of them is one."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.config.data import Digits, ImageFolder
from pipeline.planning.facts import DataFacts
from pipeline.planning.plan import (
    EPOCHS,
    FEWEST_IMAGES,
    MIN_TRIALS,
    STUDY_SHARE,
    Plan,
    finals,
    fitted,
    make_plan,
    relative_to,
    with_perceptron,
)
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import dump, parse

FOLDER = ImageFolder(path="photos")


def facts(side: int, *counts: int, data: Any = FOLDER) -> DataFacts:
    classes = {f"class{number}": count for number, count in enumerate(counts or (1_000, 1_000))}
    return DataFacts(data, classes, height=side, width=side + 8, channels=3, num_repeated=None)


def plan(side: int, *counts: int, data: Any = FOLDER) -> Plan:
    return make_plan(facts(side, *counts, data=data), seconds=1_800, workers=2)


def read(plan: Plan) -> SpaceFile:
    return read_space(parse(dump(plan.space()), "plan.yaml"), "plan")


@pytest.fixture(params=[True, False], ids=["weights", "no weights"])
def has_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if request.param else None)
    return bool(request.param)


def test_the_network_follows_from_the_images_size_and_from_weights_that_are_here(has_weights: bool) -> None:
    assert plan(8).network == "mlp"
    assert plan(12).network == plan(47).network == "cnn"
    assert plan(48).network == ("transfer" if has_weights else "cnn")
    assert plan(48).lacks_weights is not has_weights
    assert not plan(47).lacks_weights


def test_images_for_a_network_from_scratch_are_made_no_larger(has_weights: bool) -> None:
    assert plan(40).image_size == 40
    assert plan(500).image_size == (128 if has_weights else 64)
    assert plan(8, data=Digits()).image_size is None


@pytest.mark.parametrize(
    ("counts", "metric"),
    [((400, 600), "valid_accuracy"), ((900, 124), "valid_macro_f1"), ((900, 300), "valid_accuracy")],
)
def test_a_rare_class_changes_the_metric_and_lets_the_loss_be_weighted(counts: tuple[int, ...], metric: str) -> None:
    made = plan(20, *counts)
    assert made.metric == metric
    file = read(made)
    assert file.study.metric == metric
    assert made.is_imbalanced == any("class_weights" in p.name for p in file.space.parameters())


@pytest.mark.parametrize("side", [8, 12, 20, 33, 48, 300])
@pytest.mark.parametrize("counts", [(50, 50), (900, 50), (30_000, 30_000)])
@pytest.mark.usefixtures("has_weights")
def test_every_plan_is_a_space_whose_first_trial_is_whole(side: int, counts: tuple[int, ...]) -> None:
    for epoch_seconds in (0.01, 3.0, 300.0):
        made = fitted(plan(side, *counts), epoch_seconds)
        file = read(made)
        first = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        first.enqueue_trial(dict(file.study.baselines[0]))
        trial = first.ask()
        assert file.space.sample(trial).epochs == made.epochs
        assert trial.params == file.study.baselines[0]
        for config in file.space.boundary_configs(["model.kind", "transfer.kind", "epochs"]):
            assert config.epochs == made.epochs


def test_a_perceptron_takes_over_where_there_is_no_time_for_convolutions() -> None:
    made = with_perceptron(plan(40))
    assert (made.network, made.image_size, made.epochs) == ("mlp", 28, EPOCHS["mlp"][1])
    read(made)
    assert with_perceptron(plan(20, data=Digits())).image_size is None


def test_without_time_epochs_are_cut_first_and_then_images() -> None:
    whole = plan(8, 30_000, 30_000)
    fewest, most = EPOCHS["mlp"]
    trial_seconds = STUDY_SHARE * whole.seconds * whole.workers / MIN_TRIALS
    assert fitted(whole, trial_seconds / most).epochs == most
    half = fitted(whole, 2 * trial_seconds / most)
    assert (half.epochs, half.max_train_images) == (most // 2, None)
    third = fitted(whole, 3 * trial_seconds / fewest)
    assert (third.epochs, third.max_train_images) == (fewest, 20_000)
    assert third.trials == MIN_TRIALS
    assert fitted(whole, 1e6).max_train_images == FEWEST_IMAGES
    few = dataclasses.replace(whole, facts=facts(8, 300, 300))
    assert fitted(few, 1e6).max_train_images is None


@pytest.mark.parametrize(
    ("seconds", "trial_seconds", "complete", "expected"),
    [(600, 10, 50, (3, 5)), (60, 10, 50, (2, 5)), (60, 10, 1, (1, 5)), (20, 20, 50, (2, 1)), (-5, 10, 50, (1, 1))],
)
def test_what_is_trained_again_fits_the_time_that_is_left(
    seconds: float, trial_seconds: float, complete: int, expected: tuple[int, int]
) -> None:
    assert finals(seconds, trial_seconds, 2, complete) == expected


def test_data_below_the_file_are_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = plan(20).space()
    assert relative_to(content, tmp_path)["space"]["data"]["path"] == "photos"
    assert relative_to(content, tmp_path / "elsewhere")["space"]["data"]["path"] == str(tmp_path / "photos")
