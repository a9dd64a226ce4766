"""What diagnose finds of networks whose answer is known, and what it advises."""

import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from pipeline.analysis.diagnosis import Diagnosis, diagnose, settings_text
from pipeline.analysis.remedies import REMEDIES, remedies
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData
from pipeline.data.noise import NUM_CLASSES, NUM_IMAGES, noise
from pipeline.display.diagnosis_text import diagnosis_lines, diagnosis_table
from pipeline.records.results import VerdictLabel
from pipeline.setup.inputs import load_images
from pipeline.space.files import configuration_text, load_configuration
from pipeline.space.overrides import Override

STEPS = 20
WORDS: list[VerdictLabel] = ["vanishing", "exploding", "dead", "diverged"]
SIGMOID = {"hidden_layers": 12, "width": 20, "activation": "sigmoid", "batch_norm": "none"}
# Each layer's variance is 4.5 times that of the one before.
GROWING = {"hidden_layers": 20, "width": 20, "initialization": "he", "initialization_gain": 3.0, "batch_norm": "none"}
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "deep sigmoid": SIGMOID,
    "growing": GROWING,
    "sigmoid with batch norm": {**SIGMOID, "batch_norm": "before"},
    "tanh from PyTorch": {"hidden_layers": 9, "activation": "tanh", "initialization": "torch"},
    # these break a rule with SELU, or with anything but SELU
    "sigmoid with scaling": {**SIGMOID, "dropout": {"kind": "dropout", "scaling": "test"}},
    "selu with alpha": {
        "activation": "selu",
        "initialization": "he",
        "dropout": {"kind": "dropout", "variant": "alpha"},
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "one image a batch": {"batch_size": 1, "model": SIGMOID},
    "clipped": {"clip": {"kind": "value", "threshold": 0.5}, "optimizer": {"kind": "sgd", "lr": 1e-4}},
}


def make(**settings: Any) -> TrialConfig:
    return TrialConfig.model_validate({"data": {"kind": "digits"}, **settings})


CONFIGS = {name: make(model=model) for name, model in MODELS.items()} | {
    name: make(**settings) for name, settings in SETTINGS.items()
}
EVERY_CONFIG = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
EVERY_WORD = pytest.mark.parametrize("word", WORDS)


def pasted(options: str) -> list[Override]:
    """Reads options as a shell would, and then dnntune."""
    parts = shlex.split(options)
    assert parts[::2] == ["--set"] * (len(parts) // 2)
    return [Override.parse(part) for part in parts[1::2]]


@pytest.fixture(scope="module")
def images() -> ImageData:
    torch.set_num_threads(1)
    return noise("3x8x8", torch.device("cpu"))


@pytest.fixture(scope="module")
def vanishing(images: ImageData) -> Diagnosis:
    return diagnose(make(model=SIGMOID), images, num_steps=STEPS)


def test_a_deep_sigmoid_network_is_vanishing(vanishing: Diagnosis) -> None:
    assert vanishing.verdict.label == "vanishing"
    assert vanishing.network == "sigmoid with Glorot's initialization, through 12 hidden layers"
    assert vanishing.num_steps == STEPS
    assert [layer.layer for layer in vanishing.layers] == list(range(1, 14))
    gradients = [layer.gradient for layer in vanishing.layers[:-1]]
    assert gradients == sorted(gradients)
    assert gradients[0] < 1e-3 * gradients[-1]


def test_what_helps_stands_first(vanishing: Diagnosis) -> None:
    words = [tried.verdict.label for tried in vanishing.tried]
    assert words[0] == "healthy"
    assert words == sorted(words, key=lambda word: word != "healthy")
    helpful = [tried.loss for tried in vanishing.tried if tried.verdict.label == "healthy"]
    assert all(loss is not None for loss in helpful)
    assert helpful == sorted(helpful, key=float)  # type: ignore[arg-type]
    tried = {path for each in vanishing.tried for path in each.remedy.settings}
    assert {"model.activation", "model.batch_norm", "model.hidden_layers"} <= tried


def test_a_healthy_network_has_no_remedies(images: ImageData) -> None:
    told: list[str] = []
    found = diagnose(make(model={"hidden_layers": 2, "width": 20}), images, num_steps=STEPS, show=told.append)
    assert found.verdict.label == "healthy"
    assert found.tried == ()
    assert told == [found.network]
    assert found.first_loss is not None
    assert found.last_loss is not None
    assert "what helps" not in "\n".join(diagnosis_lines(found))


def test_an_explosion_that_ends_in_divergence_is_an_explosion(images: ImageData) -> None:
    config = make(model=GROWING, optimizer={"kind": "sgd", "lr": 0.05}, schedule={"kind": "constant"})
    told: list[str] = []
    found = diagnose(config, images, num_steps=STEPS, show=told.append)
    assert found.verdict.label == "exploding"
    assert found.verdict.text.endswith("is not finite")
    assert found.num_steps < STEPS
    assert found.last_loss is None
    assert found.tried[0].verdict.label == "healthy"
    assert len(told) == 1 + len(found.tried)
    # what does not help by itself comes after what does
    assert "clip" in found.tried[-1].remedy.settings
    assert found.tried[-1].verdict.label == "exploding"


def test_gradients_too_large_to_square_explode(images: ImageData) -> None:
    config = make(model={**GROWING, "hidden_layers": 80, "width": 50})
    assert diagnose(config, images, num_steps=4).verdict.label == "exploding"


def test_a_diagnosis_is_json(vanishing: Diagnosis) -> None:
    plain = json.loads(json.dumps(vanishing.to_json(), allow_nan=False))
    assert plain["verdict"] == {"label": "vanishing", "text": vanishing.verdict.text}
    assert len(plain["layers"]) == 13
    assert plain["tried"][0]["remedy"]["settings"] == vanishing.tried[0].remedy.settings


def test_a_person_reads_the_layers_and_what_helps(vanishing: Diagnosis) -> None:
    console = Console(file=io.StringIO(), width=180)
    table = diagnosis_table(vanishing)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    assert table.row_count == 13
    shown = console.file.getvalue()
    assert "saturated" in shown
    assert "dead" not in shown
    assert "output" in shown
    first, *others = diagnosis_lines(vanishing)
    assert first.startswith("vanishing: sigmoid with Glorot's")
    text = "\n".join(others)
    for tried in vanishing.tried:
        assert f"  {settings_text(tried.remedy)}    # {tried.remedy.reason}" in text


@EVERY_WORD
@EVERY_CONFIG
def test_a_remedy_keeps_to_the_rules_and_changes_what_it_names(config: TrialConfig, word: VerdictLabel) -> None:
    for remedy in remedies(config, word):
        changed = config.replaced(remedy.settings)
        assert remedy.settings
        for path in remedy.settings:
            before, after = config, changed
            for name in path.split("."):
                before, after = getattr(before, name), getattr(after, name)
            assert before != after


@EVERY_CONFIG
def test_a_healthy_verdict_needs_no_remedy(config: TrialConfig) -> None:
    assert remedies(config, "healthy") == []


def test_every_verdict_has_a_remedy_for_a_deep_network() -> None:
    assert set(REMEDIES) == {"healthy", *WORDS}
    for word in WORDS:
        assert remedies(make(model={**GROWING, "activation": "tanh"}), word)


@EVERY_WORD
@EVERY_CONFIG
def test_pasted_options_are_the_remedy(tmp_path: Path, config: TrialConfig, word: VerdictLabel) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(configuration_text(config))
    for remedy in remedies(config, word):
        assert load_configuration(str(file), pasted(settings_text(remedy))) == config.replaced(remedy.settings)


@pytest.mark.parametrize(
    ("space", "word"),
    [
        ("{data: {kind: digits}, model: {width: [9, 8, 7, 6, 5, 4], activation: tanh}}", "vanishing"),
        ("{data: {kind: digits}}", "diverged"),
        ("{data: {kind: digits}, optimizer: sgd}", "diverged"),
    ],
    ids=["widths", "default optimizer", "bare optimizer"],
)
def test_pasted_options_fit_a_short_file(tmp_path: Path, space: str, word: VerdictLabel) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"space: {space}\n")
    config = load_configuration(str(file))
    for remedy in remedies(config, word):
        assert load_configuration(str(file), pasted(settings_text(remedy))) == config.replaced(remedy.settings)


def test_noise_has_its_shape_and_is_always_the_same() -> None:
    once, again = (noise("2x3x4", torch.device("cpu")) for _ in range(2))
    assert once.image_shape == (2, 3, 4)
    assert (len(once.train), once.num_classes) == (NUM_IMAGES, NUM_CLASSES)
    assert set(once.train.labels.tolist()) == set(range(NUM_CLASSES))
    assert torch.equal(once.train.images, again.train.images)
    assert torch.equal(once.train.labels, again.train.labels)
    # standard normal: the standard error of the mean of 24 * 4096 values is 0.003
    assert abs(float(once.train.images.mean())) < 0.02
    assert float(once.train.images.std()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("shape", ["3x32", "0x8x8", "3x8x8x8", "3x8x-8", "axbxc", "", "3X8X8", " 3x8x8"])
def test_what_is_no_shape_is_refused(shape: str) -> None:
    with pytest.raises(DataError, match="CHANNELSxHEIGHTxWIDTH") as caught:
        noise(shape, torch.device("cpu"))
    assert repr(shape) in str(caught.value)


def test_images_are_random_or_those_of_the_configuration() -> None:
    random = load_images(make(), "3x8x8", data_dir=None, compute=Compute(threads=1, device="cpu"))
    assert random.image_shape == (3, 8, 8)
    own = load_images(make(), None, data_dir=None, compute=Compute(threads=1, device="cpu"))
    assert own.image_shape == (1, 8, 8)
    assert torch.get_num_threads() == 1
