"""What diagnose finds of networks whose answer is known, and what it advises."""

import json

import pytest
import torch

from pipeline.analysis.diagnosis import Diagnosis, diagnose
from pipeline.analysis.remedies import REMEDIES, Remedy, remedies
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData
from pipeline.data.noise import NUM_CLASSES, NUM_IMAGES, noise
from pipeline.records.results import VerdictLabel
from pipeline.setup.inputs import load_images
from tests.analysis.diagnosed import EVERY_CONFIG, EVERY_WORD, GROWING, SIGMOID, WORDS, make

STEPS = 20


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
    told: list[Remedy] = []
    found = diagnose(make(model={"hidden_layers": 2, "width": 20}), images, num_steps=STEPS, trying=told.append)
    assert found.verdict.label == "healthy"
    assert found.tried == ()
    assert told == []
    assert found.first_loss is not None
    assert found.last_loss is not None


def test_an_explosion_that_ends_in_divergence_is_an_explosion(images: ImageData) -> None:
    config = make(model=GROWING, optimizer={"kind": "sgd", "lr": 0.05}, schedule={"kind": "constant"})
    told: list[Remedy] = []
    found = diagnose(config, images, num_steps=STEPS, trying=told.append)
    assert found.verdict.label == "exploding"
    assert found.verdict.text.endswith("is not finite")
    assert found.num_steps < STEPS
    assert found.last_loss is None
    assert found.tried[0].verdict.label == "healthy"
    assert len(told) == len(found.tried)
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
