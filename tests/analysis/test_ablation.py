"""What is switched off, and what the rows say of it."""

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.analysis import ablation_study
from pipeline.analysis.ablation import FULL, TECHNIQUES, Row, ablation_csv, ablations, rows
from pipeline.config.model import MlpConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.display.progress import StudyProgress
from pipeline.display.tables import ablation_table
from pipeline.records.results import Outcome, TrialResult
from pipeline.space.tree import flatten
from pipeline.study.summary import StudySummary

EVERYTHING: dict[str, Any] = {
    "data": {"kind": "digits"},
    "model": {
        "activation": "elu",
        "batch_norm": "after",
        "input_batch_norm": True,
        "dropout": {"kind": "dropout", "rate": 0.3},
        "initialization_gain": 1.2,
    },
    "optimizer": {"kind": "adamw", "weight_decay": 0.02},
    "schedule": {"kind": "cosine", "warmup_epochs": 1.0},
    "clip": {"kind": "norm", "threshold": 2.0},
    "max_norm": 3.0,
    "augment": {"kind": "light"},
    "loss": {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"},
    "ema_decay": 0.9,
    "early_stopping": {"patience": 5},
}
BACKBONE: dict[str, Any] = {
    **EVERYTHING,
    "model": {"kind": "backbone", "name": "resnet18", "head": {**EVERYTHING["model"], "hidden_layers": 1}},
    "transfer": {"kind": "unfreeze"},
}
OF_BACKBONES = ("pretrained: false", "transfer: frozen")
FOCAL: dict[str, Any] = {**EVERYTHING, "loss": {"kind": "focal", "class_weights": "balanced"}}
OF_FOCAL = ("loss: cross_entropy",)
_LAYERS = {name: value for name, value in EVERYTHING["model"].items() if name != "dropout"}
CNN: dict[str, Any] = {
    **EVERYTHING,
    "model": {
        "kind": "cnn",
        **_LAYERS,
        "block": "residual",
        "blocks": 3,
        "channel_dropout": 0.1,
        "head": {**EVERYTHING["model"], "hidden_layers": 1},
    },
}
OF_CNNS = ("block: plain",)
NOTHING: dict[str, Any] = {
    "data": {"kind": "digits"},
    "model": {"activation": "relu", "batch_norm": "none", "initialization": "torch"},
    "optimizer": {"kind": "sgd"},
    "schedule": {"kind": "constant"},
    "early_stopping": {"patience": None},
}
# What each row must set; nothing outside these paths, or the blocks that they are the kinds of, may change.
OFF: dict[str, dict[str, Any]] = {
    "pretrained: false": {"model.pretrained": False, "transfer.kind": "none"},
    "transfer: frozen": {"transfer.kind": "frozen"},
    "augment: none": {"augment.kind": "none"},
    "loss: cross_entropy": {"loss.kind": "cross_entropy"},
    "loss.label_smoothing: 0": {"loss.label_smoothing": 0.0},
    "loss.class_weights: none": {"loss.class_weights": "none"},
    "ema_decay: none": {"ema_decay": None},
    "schedule: constant": {"schedule.kind": "constant"},
    "clip: none": {"clip.kind": "none"},
    "batch_norm: none": {"model.batch_norm": "none", "model.input_batch_norm": False},
    "dropout: none": {"model.dropout.kind": "none"},
    "early_stopping: none": {"early_stopping.patience": None},
    "max_norm: none": {"max_norm": None},
    "weight_decay: 0": {"optimizer.weight_decay": 0.0},
    "activation: sigmoid": {"model.activation": "sigmoid"},
    "activation: relu": {"model.activation": "relu"},
    "initialization: torch": {"model.initialization": "torch", "model.initialization_gain": None},
    "block: plain": {"model.block": "plain", "model.blocks": 6},  # of half as many convolutions
}


def make(fields: dict[str, Any], **settings: Any) -> TrialConfig:
    return TrialConfig.model_validate(fields).replaced(settings)


def changed(before: TrialConfig, after: TrialConfig) -> dict[str, Any]:
    """From every path that differs to its new value; None where it is gone."""
    old, new = flatten(before.to_dict()), flatten(after.to_dict())
    return {path: new.get(path) for path in old | new if old.get(path, "gone") != new.get(path, "gone")}


def done(value: float, seconds: float = 2.0, epochs: int = 4) -> TrialResult:
    return TrialResult("complete", value=value, seconds=seconds, epochs=epochs)


def row(found: list[Row], case: str) -> Row:
    return next(each for each in found if each.case == case)


def full_of(name: str) -> TrialConfig:
    if name in OF_CNNS:
        return make(CNN)
    return make(BACKBONE if name in OF_BACKBONES else FOCAL if name in OF_FOCAL else EVERYTHING)


def test_a_configuration_that_uses_everything_has_every_row() -> None:
    cases = ablations(make(EVERYTHING))
    assert list(cases) == [FULL, *(name for name in TECHNIQUES if name not in OF_BACKBONES + OF_FOCAL + OF_CNNS)]
    assert cases[FULL] == make(EVERYTHING)
    assert list(ablations(make(BACKBONE))) == [FULL, *(name for name in TECHNIQUES if name not in OF_FOCAL + OF_CNNS)]
    assert list(ablations(make(CNN))) == [FULL, *(name for name in TECHNIQUES if name not in OF_BACKBONES + OF_FOCAL)]


def test_convolutions_lose_a_technique_with_their_head() -> None:
    full = make(CNN)
    differences = {name: changed(full, off) for name, off in ablations(full).items()}
    assert differences["activation: sigmoid"] == {"model.activation": "sigmoid", "model.head.activation": "sigmoid"}
    for name in ("batch_norm: none", "initialization: torch"):
        here = OFF[name].items()
        assert differences[name] == {**OFF[name], **{path.replace("model", "model.head"): new for path, new in here}}
    dropout = differences["dropout: none"]
    assert (dropout["model.channel_dropout"], dropout["model.head.dropout.kind"]) == (0.0, "none")
    linear = ablations(make(CNN, **{"model.head.hidden_layers": 0}))
    assert "model.head.activation" not in changed(full, linear["activation: relu"])


def test_what_is_switched_off_of_a_backbone_is_in_its_head() -> None:
    full = make(BACKBONE)
    differences = {name: changed(full, off) for name, off in ablations(full).items()}
    assert differences["activation: sigmoid"] == {"model.head.activation": "sigmoid"}
    assert differences["dropout: none"]["model.head.dropout.kind"] == "none"
    linear = make(BACKBONE, **{"model.head.hidden_layers": 0})
    assert not {"activation: sigmoid", "initialization: torch"} & ablations(linear).keys()


def test_a_plain_configuration_has_its_activation_alone() -> None:
    assert list(ablations(make(NOTHING))) == [FULL, "activation: sigmoid"]
    sigmoid = make(NOTHING, **{"model.activation": "sigmoid"})
    assert list(ablations(sigmoid)) == [FULL, "activation: relu"]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_row_changes_its_own_settings_alone(name: str) -> None:
    full = full_of(name)
    off = ablations(full)[name]
    difference = changed(full, off)
    assert OFF[name].items() <= difference.items()
    blocks = tuple(f"{path.removesuffix('.kind')}." for path in OFF[name] if path.endswith(".kind"))
    assert {path for path in difference if not path.startswith(blocks)} <= OFF[name].keys()


@pytest.mark.parametrize("name", TECHNIQUES)
def test_what_is_off_is_not_switched_off_again(name: str) -> None:
    off = ablations(full_of(name))[name]
    assert name not in ablations(off)


@pytest.mark.parametrize(
    ("settings", "num_changes"),
    [
        ({"model.input_batch_norm": False}, 1),
        ({"model.batch_norm": "none"}, 1),
        ({}, 2),
    ],
)
def test_batch_normalization_goes_with_that_of_the_input(settings: dict[str, Any], num_changes: int) -> None:
    full = make(EVERYTHING, **settings)
    off = ablations(full)["batch_norm: none"]
    assert isinstance(off.model, MlpConfig)
    assert (off.model.batch_norm, off.model.input_batch_norm) == ("none", False)
    assert len(changed(full, off)) == num_changes


@pytest.mark.parametrize("variant", ["auto", "alpha"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_alpha_dropout_becomes_standard_without_selu(variant: str, activation: str) -> None:
    full = make(EVERYTHING, **{"model.activation": "selu", "model.dropout.variant": variant})
    off = ablations(full)[f"activation: {activation}"]
    assert changed(full, off) == {"model.activation": activation, "model.dropout.variant": "standard"}


def test_selu_without_dropout_changes_its_activation_alone() -> None:
    full = make(NOTHING, **{"model.activation": "selu"})
    assert changed(full, ablations(full)["activation: relu"]) == {"model.activation": "relu"}


def test_differences_are_paired_by_seed() -> None:
    found = rows(
        {
            FULL: {0: done(0.9), 1: done(0.8), 2: done(0.9)},
            "clip: none": {1: done(0.6, seconds=4.0, epochs=6), 0: done(0.8), 2: done(0.6, seconds=3.0, epochs=5)},
        }
    )
    full, without = found
    assert (full.case, full.differences) == (FULL, {0: 0.0, 1: 0.0, 2: 0.0})
    assert without.values == {0: 0.8, 1: 0.6, 2: 0.6}
    assert without.differences == pytest.approx({0: -0.1, 1: -0.2, 2: -0.3})
    assert without.mean == pytest.approx(2.0 / 3.0)
    assert without.difference == pytest.approx(-0.2)
    # three differences: standard error 0.1 / sqrt(3), and Student's 97.5 % quantile of two degrees of freedom
    spread = 4.302653 * 0.1 / math.sqrt(3.0)
    assert without.difference_interval == pytest.approx((-0.2 - spread, -0.2 + spread), abs=1e-5)
    assert without.interval == pytest.approx((2 / 3 - 0.286844, 2 / 3 + 0.286844), abs=1e-5)
    assert (without.seconds, without.epochs, without.diverged) == (3.0, 5.0, 0)


def test_values_that_hardly_vary_have_a_narrow_interval() -> None:
    (full,) = rows({FULL: {0: done(0.80), 1: done(0.82), 2: done(0.81)}})
    # standard error 0.01 / sqrt(3)
    assert full.interval == pytest.approx((0.81 - 0.024841, 0.81 + 0.024841), abs=1e-5)


def test_two_seeds_are_shown_and_have_no_interval() -> None:
    found = rows(
        {
            FULL: {0: done(0.8003), 1: done(0.9997)},
            "clip: none": {0: done(0.8), 1: done(0.6)},
            "max_norm: none": {0: done(0.8003), 1: done(0.9997)},
        }
    )
    assert {each.interval for each in found} == {each.difference_interval for each in found} == {None}
    console = Console(file=io.StringIO(), width=180)
    console.print(ablation_table("mine", found))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert " to " not in text
    assert "+0.0000" not in text
    (full,) = [line for line in text.splitlines() if "nothing (full)" in line]
    assert "0.8003, 0.9997" in full
    (clip,) = [line for line in text.splitlines() if "clip: none" in line]
    assert "-0.0003, -0.3997" in clip
    (norm,) = [line for line in text.splitlines() if "max_norm: none" in line]
    assert "equal with every seed" in norm


def test_a_seed_that_is_missing_is_in_no_difference() -> None:
    found = rows({FULL: {0: done(0.9), 2: done(0.7)}, "clip: none": {0: done(0.8), 1: done(0.1)}})
    without = row(found, "clip: none")
    assert without.values == {0: 0.8, 1: 0.1}
    assert without.differences == pytest.approx({0: -0.1})
    assert without.difference == pytest.approx(-0.1)
    assert (without.difference_interval, without.interval) == (None, None)


def test_a_diverged_trial_is_counted_and_has_no_value() -> None:
    diverged = TrialResult("diverged", value=0.5, seconds=1.0, epochs=1)
    found = rows({FULL: {0: done(0.9), 1: done(0.9)}, "clip: none": {0: diverged, 1: done(0.8)}})
    without = row(found, "clip: none")
    assert (without.values, without.diverged) == ({1: 0.8}, 1)
    assert without.differences == pytest.approx({1: -0.1})
    assert (without.mean, without.interval) == (0.8, None)


def test_nothing_is_compared_with_a_diverged_full_configuration() -> None:
    diverged = TrialResult("diverged", value=0.5, seconds=1.0, epochs=1)
    found = rows({FULL: {0: diverged, 1: done(0.9)}, "clip: none": {0: done(0.8), 1: done(0.8)}})
    assert row(found, FULL).values == {1: 0.9}
    assert row(found, "clip: none").differences == pytest.approx({1: -0.1})


def test_the_full_configuration_is_first_and_then_what_hurts_most() -> None:
    found = rows(
        {
            "helps": {0: done(0.95)},
            "hurts": {0: done(0.6)},
            FULL: {0: done(0.9)},
            "never trained": {0: TrialResult("diverged", seconds=1.0)},
            "hurts a little": {0: done(0.89)},
        }
    )
    assert [each.case for each in found] == [FULL, "never trained", "hurts", "hurts a little", "helps"]
    assert (found[1].mean, found[1].difference, found[1].difference_interval) == (None, None, None)


def test_every_value_is_in_the_csv() -> None:
    diverged = TrialResult("diverged", value=0.5)
    found = rows({"clip: none": {0: done(0.75), 1: diverged}, FULL: {1: done(0.5), 0: done(0.875)}})
    text = ablation_csv(found)
    assert text == "case,seed,valid_accuracy\nfull,0,0.875\nfull,1,0.5\nclip: none,0,0.75\n"


def test_the_table_says_what_was_found() -> None:
    diverged = TrialResult("diverged", seconds=1.0)
    found = rows(
        {
            FULL: {0: done(0.9), 1: done(0.8)},
            "clip: none": {0: done(0.8), 1: done(0.6)},
            "max_norm: none": {0: diverged, 1: diverged},
        }
    )
    console = Console(file=io.StringIO(), width=180)
    console.print(ablation_table("mine", found))
    assert isinstance(console.file, io.StringIO)
    title, *lines = console.file.getvalue().splitlines()
    assert title.strip() == "mine: each technique switched off, alone; 2 seeds"
    (full,) = [line for line in lines if "nothing (full)" in line]
    (clip,) = [line for line in lines if "clip: none" in line]
    (norm,) = [line for line in lines if "max_norm: none (2 diverged)" in line]
    assert "0.8500" in full
    assert "+0.0000" not in full  # it is compared with nothing
    for part in ("0.7000", "-0.1500", "-0.1000, -0.2000", "2.0", "4.0"):
        assert part in clip
    assert " to " not in norm


def test_an_ablation_that_was_stopped_before_it_began_has_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none: dict[Outcome, int] = {"complete": 0, "pruned": 0, "diverged": 0, "failed": 0, "interrupted": 0}
    summary = StudySummary("a", "", "", none, 9, None, 0.1, True, None, 0, 0)
    monkeypatch.setattr(ablation_study, "run_study", lambda *arguments, **named: summary)
    found = ablation_study.run_ablation(
        TrialConfig.model_validate(NOTHING),
        name="a",
        num_seeds=2,
        workspace=Workspace(tmp_path),
        compute=Compute(threads=1, device="cpu"),
        observer=StudyProgress("valid_accuracy"),
        figure=tmp_path / "a.png",
    )
    assert (found.rows, found.figure, found.to_json()["interrupted"]) == ([], None, True)
    assert not (tmp_path / "a.png").exists()
