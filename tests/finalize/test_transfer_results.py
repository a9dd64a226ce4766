"""What train, diagnose and lr-find make of a backbone: a tiny one with random weights, for which nothing is needed."""

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.probe import range_test
from pipeline.analysis.rate_range import suggest
from pipeline.analysis.remedies import REMEDIES, network, remedies
from pipeline.config.model import BackboneConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import DnntuneError
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.loading import load_data
from pipeline.display.console import EPOCH_HEAD, epoch_line, metric_lines
from pipeline.display.diagnosis_text import diagnosis_lines, settings_text
from pipeline.evaluation.train_and_test import train_and_test
from pipeline.records.results import VerdictLabel
from pipeline.space.files import configuration_text, read_space
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import parse

IMAGES = 100 + 143
SIGMOID = {"hidden_layers": 8, "width": 20, "activation": "sigmoid", "batch_norm": "none"}
OF_BACKBONES = {"phases", "backbone_images", "cached_images"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(head: dict[str, Any] | None = None, **settings: Any) -> TrialConfig:
    model = {"kind": "backbone", "name": "test_resnet", "pretrained": False, "image_size": 32, "head": head or {}}
    data = {"kind": "digits", "max_train_images": 100}
    fields = {"data": data, "model": model, "transfer": {"kind": "frozen"}, "epochs": 4, "batch_size": 32}
    return TrialConfig.model_validate({**fields, **settings})


def test_the_report_has_the_phases_and_the_images(tmp_path: Path) -> None:
    config = make({"input_batch_norm": True}, transfer={"frozen_epochs": 1, "unfreeze_top_stages": 1})
    training = train_and_test(config, compute=Compute(device="cpu"), cache=FeatureCache(tmp_path))
    epochs = list(training)
    figures = training.result
    assert [epoch.phase for epoch in epochs] == ["frozen"] + ["unfreeze 1"] * 3
    best = max(epoch.valid_accuracy for epoch in epochs[1:])
    assert figures["phases"] == (f"frozen {epochs[0].valid_accuracy:.4f} in 1 epoch; unfreeze 1 {best:.4f} in 3 epochs")
    # Each phase has an entry of its own: pooled features, and the map below the top stage.
    assert (figures["backbone_images"], figures["cached_images"]) == (2 * IMAGES, 4 * IMAGES)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    lines = list(metric_lines(figures))
    assert lines[1] == figures["phases"]
    assert lines[2] == "486 images passed through the backbone in training; 972 came from the cache"
    assert [epoch_line(epoch).split("  ")[-1] for epoch in epochs] == [epoch.phase for epoch in epochs]
    assert epoch_line(epochs[0]).index("best") > len(EPOCH_HEAD)


def test_the_cache_changes_nothing_but_the_images(tmp_path: Path) -> None:
    config = make({"hidden_layers": 1, "width": 16, "dropout": {"kind": "dropout"}})
    without = train_and_test(config, compute=Compute(device="cpu"), mc_samples=3).result
    assert (without["backbone_images"], without["cached_images"]) == (4 * IMAGES, 0)
    for built in (IMAGES, 0):
        found = train_and_test(config, compute=Compute(device="cpu"), mc_samples=3, cache=FeatureCache(tmp_path)).result
        assert (found["backbone_images"], found["cached_images"]) == (built, 4 * IMAGES)
        for name in ("best_valid_loss", "test_loss", "best_valid_accuracy", "test_accuracy"):
            assert found[name] == pytest.approx(without[name], rel=1e-4)
        monte_carlo = [figures["evaluation"]["monte_carlo"]["log_likelihood"] for figures in (found, without)]
        assert monte_carlo[0] == pytest.approx(monte_carlo[1], rel=1e-4)
        assert found.keys() == without.keys()


def test_a_network_that_learns_as_a_whole_has_one_phase_and_a_perceptron_none(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    whole = train_and_test(make(transfer={"kind": "none"}, epochs=2), compute=Compute(device="cpu"), cache=cache).result
    assert whole["phases"].startswith("all 0.")
    assert (whole["backbone_images"], whole["cached_images"]) == (2 * IMAGES, 0)
    assert not list(tmp_path.iterdir())
    mlp = {"kind": "mlp", "hidden_layers": 1, "width": 8}
    config = make(model=mlp, transfer={"kind": "none"})
    perceptron = train_and_test(config, compute=Compute(device="cpu"), cache=cache).result
    assert not OF_BACKBONES & perceptron.keys()
    assert not [line for line in metric_lines(perceptron) if "backbone" in line]


def test_a_linear_head_has_nothing_to_drop_unless_its_features_are() -> None:
    with pytest.raises(DnntuneError, match="Monte Carlo dropout needs dropout"):
        train_and_test(make(), compute=Compute(device="cpu"), mc_samples=3)
    figures = train_and_test(
        make({"dropout": {"kind": "dropout", "rate": 0.5}}), compute=Compute(device="cpu"), mc_samples=3
    ).result
    plain, monte_carlo = (figures["evaluation"][name]["log_likelihood"] for name in ("deterministic", "monte_carlo"))
    assert plain != monte_carlo


@pytest.mark.parametrize(
    ("head", "pretrained", "words"),
    [
        ({}, True, "resnet18 with pretrained weights and a linear classifier"),
        ({}, False, "resnet18 with random weights and a linear classifier"),
        (
            {"hidden_layers": 1, "activation": "selu"},
            "mine.pth",
            "resnet18 with pretrained weights and a head of SELU with LeCun's initialization, batch normalization "
            "before it, through 1 hidden layer",
        ),
    ],
)
def test_a_backbone_in_words(head: dict[str, Any], pretrained: bool | str, words: str) -> None:
    model = {"name": "resnet18", "pretrained": pretrained, "head": head}
    assert network(BackboneConfig.model_validate(model)) == words


HEADS: dict[str, dict[str, Any]] = {
    "linear": {},
    "deep sigmoid": SIGMOID,
    "list": {"width": [30, 20, 20, 20, 20, 20, 10], "activation": "tanh", "initialization": "torch"},
    "selu with alpha": {
        "hidden_layers": 2,
        "activation": "selu",
        "initialization": "he",
        "initialization_gain": 3.0,
        "dropout": {"kind": "dropout", "variant": "alpha"},
    },
}


@pytest.mark.parametrize("word", REMEDIES)
@pytest.mark.parametrize("head", HEADS)
def test_remedies_change_the_head_and_are_options_that_can_be_pasted(head: str, word: VerdictLabel) -> None:
    config = make(HEADS[head])
    for remedy in remedies(config, word):
        changed = config.replaced(remedy.settings)
        assert changed != config
        assert changed.transfer == config.transfer
        # What is about layers is about the head, and a linear head has none.
        about_layers = {path for path in remedy.settings if path.startswith("model.")}
        assert not about_layers or head != "linear"
        assert all(path.startswith("model.head.") for path in about_layers)
        options = shlex.split(settings_text(remedy))[1::2]
        file = read_space(parse(configuration_text(config), "f"), "f", [Override.parse(each) for each in options])
        assert next(file.space.boundary_configs([])) == changed
    if head == "deep sigmoid" and word == "vanishing":
        found = [set(remedy.settings) for remedy in remedies(config, word)]
        assert found == [{"model.head.activation"}, {"model.head.batch_norm"}, {"model.head.hidden_layers"}]


def test_a_head_is_diagnosed_and_healed() -> None:
    config = make(SIGMOID)
    found = diagnose(config, load_data(config.data), num_steps=10)
    assert found.network.startswith("test_resnet with random weights and a head of sigmoid")
    assert found.verdict.label == "vanishing"
    assert len(found.layers) == 9  # the head's: what is below is frozen
    assert {tried.verdict.label for tried in found.tried} == {"healthy"}
    assert "model.head.batch_norm=before" in "\n".join(diagnosis_lines(found))
    whole = diagnose(make(SIGMOID, transfer={"kind": "none"}), load_data(config.data), num_steps=10)
    assert len(whole.layers) > 9


def test_the_range_test_trains_the_head() -> None:
    config = make({"hidden_layers": 2, "width": 20})
    rates, losses = range_test(config, load_data(config.data), low=1e-5, high=10.0, num_steps=60)
    assert losses[0] == pytest.approx(math.log(10), rel=0.3)
    assert min(losses) < 0.95 * losses[0]
    found = suggest(rates, losses)
    assert 1e-4 < found.low < found.high < 10.0
