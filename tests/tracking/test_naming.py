"""What the trials of a backbone are called in MLflow, and what their runs say."""

from typing import Any

import pytest

from pipeline.config.trial import TrialConfig
from pipeline.records.results import NOT_CURVES, EpochResult, PhaseResult, TrialResult
from pipeline.tracking.axes import Axes
from pipeline.tracking.naming import MAX_VALUE_LENGTH, metrics_of, params_of, run_name, tags_of


def make(model: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    backbone = {"kind": "backbone", "name": "resnet18", **(model or {})}
    return TrialConfig.model_validate({"data": {"kind": "digits"}, "model": backbone, **settings}).to_dict()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (make(), "t007 frozen resnet18 adamw"),
        (make({"name": "tf_efficientnet_lite0"}), "t007 frozen efficientnet_lite0 adamw"),
        (make({"name": "resnet18.a1_in1k"}, transfer={"unfreeze_top_stages": 2}), "t007 top 2 resnet18.a1_in1k adamw"),
        (make(transfer={"unfreeze_top_stages": "all"}), "t007 top all resnet18 adamw"),
        (make(transfer={"kind": "auto"}, optimizer={"kind": "sgd"}), "t007 auto resnet18 sgd"),
        (make({"pretrained": False}), "t007 all resnet18 adamw"),
    ],
)
def test_a_backbone_is_named_by_its_architecture_and_what_learns(config: dict[str, Any], name: str) -> None:
    assert run_name(7, config, {}) == name
    assert run_name(7, config, {"case": "augment: none"}) == "t007 augment: none seed 0"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"hidden_layers": 3, "width": 100}, "t007 relu 3x100 adamw"),
        ({"width": [300, 100], "activation": "selu"}, "t007 selu 300-100 adamw"),
        ({"kind": "cnn", "channels": 16}, "t007 relu plain 3x2x16 adamw"),
        ({"kind": "cnn", "channels": [16, 24], "block": "residual"}, "t007 relu residual 2x16-24 adamw"),
    ],
)
def test_other_networks_are_named_by_their_shape(model: dict[str, Any], name: str) -> None:
    assert run_name(7, TrialConfig.model_validate({"data": {"kind": "digits"}, "model": model}).to_dict(), {}) == name


def test_parameters_of_a_backbone_stand_under_their_paths() -> None:
    config = make({"head": {"width": [30, 20]}}, transfer={"lr_factor": 0.1}, feature_cache={"dtype": "float16"})
    params = params_of(config, Axes(log_scaled=frozenset({"transfer.lr_factor"})))
    expected = {
        "model.kind": "backbone",
        "model.pretrained": "true",
        "model.head.width": "[30, 20]",
        "model.head.hidden_layers": "2",
        "transfer.kind": "unfreeze",
        "transfer.lr_factor.log10": "-1.000",
        "feature_cache.dtype": "float16",
        "augment.kind": "none",
    }
    assert expected.items() <= params.items()
    assert "feature_cache.views" not in params  # unset


PHASES = (PhaseResult("frozen", 5, 4, 0.847), PhaseResult("unfreeze 1", 1, 1, 0.866))
WORDS = "frozen 0.8470 in 5 epochs; unfreeze 1 0.8660 in 1 epoch"


def test_a_trial_says_what_its_phases_brought() -> None:
    assert tags_of(TrialResult("complete", 0.866, phases=PHASES))["phases"] == WORDS
    assert len(tags_of(TrialResult("complete", 0.866, phases=PHASES * 200))["phases"]) == MAX_VALUE_LENGTH
    assert "phases" not in tags_of(TrialResult("complete", 0.8))


def test_a_trial_says_how_many_images_passed_and_were_spared() -> None:
    figures = metrics_of(TrialResult("complete", 0.866, backbone_images=1000, cached_images=0))
    assert (figures["backbone_images"], figures["cached_images"]) == (1000.0, 0.0)
    assert not {"backbone_images", "cached_images"} & metrics_of(TrialResult("complete", 0.8)).keys()


def test_words_and_counts_are_no_curves() -> None:
    epoch = EpochResult(1, 0.5, 0.8, 0.4, 0.7, 0.01, 1.5, 0.25, 1000.0, 0.1, True, (), "frozen", 10, 20)
    assert not set(NOT_CURVES) & epoch.measures().keys()
    assert epoch.measures()["valid_accuracy"] == 0.7


def test_further_metrics_have_names_that_mlflow_takes() -> None:
    metrics = {"valid_macro_f1": 0.5, "valid_recall:T-shirt/top <1>": 0.25}
    figures = metrics_of(TrialResult("complete", 0.5, best_metrics=metrics))
    assert (figures["best_valid_macro_f1"], figures["best_valid_recall/T-shirt_top _1_"]) == (0.5, 0.25)
