"""Frozen layers stay as they are to the bit, and what the cache has of them gives the numbers that they would give."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from pipeline.config.data import Arrays
from pipeline.config.trial import TrialConfig
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.features import LabeledFeatures
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import load_data
from pipeline.models.backbones import backbone
from pipeline.models.backbones.cut import CannotSplitError
from pipeline.models.backbones.stages import stage_of_parameters
from pipeline.training.start import Training, start

NAME, NUM_STAGES, NUM_IMAGES = "mobilenetv3_small_050", 5, 96
FROZEN = {"kind": "frozen"}
UNFREEZE = [{"kind": "unfreeze", "frozen_epochs": 1, "unfreeze_top_stages": stages} for stages in (1, 2)]
TRANSFERS = [FROZEN, *UNFREEZE]
Configure = Callable[..., TrialConfig]
Reader = Callable[..., ImageData]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights whose normalization is no identity, as after a training."""
    torch.manual_seed(0)
    model = timm.create_model(NAME, num_classes=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    file = tmp_path_factory.mktemp("weights") / "body.pt"
    torch.save(model.state_dict(), file)
    return file


@pytest.fixture
def configure(weights: Path) -> Configure:
    def configure(transfer: dict[str, Any], *, model: dict[str, Any] | None = None, **settings: Any) -> TrialConfig:
        body = {"kind": "backbone", "name": NAME, "pretrained": str(weights), "image_size": 32}
        usual = {"optimizer": {"kind": "adamw", "lr": 0.01}, "epochs": 2, "batch_size": 32}
        plain = {"data": {"kind": "digits"}, "model": {**body, **(model or {})}, "transfer": transfer}
        return TrialConfig.model_validate({**plain, **usual, **settings})

    return configure


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Reads images of four classes, 64 to train on if nothing else is said."""
    generator, labels = np.random.default_rng(0), np.arange(NUM_IMAGES) % 4
    patterns = generator.uniform(60.0, 200.0, (4, 6, 6))
    pixels = np.clip(patterns[labels] + generator.normal(0.0, 30.0, (NUM_IMAGES, 6, 6)), 0.0, 255.0)
    np.savez(tmp_path / "images.npz", x_train=pixels.astype(np.uint8), y_train=labels)

    def read(**settings: Any) -> ImageData:
        where = {"kind": "arrays", "path": str(tmp_path / "images.npz"), "valid_fraction": 1 / 3}
        return load_data(Arrays.model_validate({**where, **settings}))

    return read


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", said.append)


def _trained(config: TrialConfig, data: ImageData, cache: FeatureCache | None) -> tuple[Training, list[Any]]:
    """Returns a training, and of its epochs all that does not depend on time, nor on the cache."""
    training = start(config, data, cache=cache)
    return training, [
        dataclasses.replace(result, samples_per_second=0.0, seconds=0.0, backbone_images=0, cached_images=0)
        for result in training.epochs
    ]


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _images(config: TrialConfig, data: ImageData, cache: FeatureCache | None) -> list[tuple[int, int]]:
    """Returns of each epoch how many images passed through the backbone, and how many did not have to."""
    epochs = start(config, data, cache=cache).epochs
    return [(result.backbone_images, result.cached_images) for result in epochs]


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("transfer", TRANSFERS)
def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(
    transfer: dict[str, Any], is_cached: bool, configure: Configure, read: Reader, weights: Path, cache: FeatureCache
) -> None:
    trained_stages = transfer.get("unfreeze_top_stages", 0)
    training = start(configure(transfer), read(), cache=cache if is_cached else None)
    body, head = (training.model.get_submodule(part) for part in ("body", "head"))
    before = torch.load(weights)
    head_before, head_after, after = _state(head), _state(head), _state(body)
    for _ in training.epochs:  # after the last one, the best one's weights come back
        head_after, after = _state(head), _state(body)
    stages = stage_of_parameters(body)
    of_modules = {name.rpartition(".")[0]: stage for name, stage in stages.items()}
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    expected = {name for name in before if of_modules[name.rpartition(".")[0]] >= NUM_STAGES - trained_stages}
    assert len(expected) == {0: 0, 1: 74, 2: 184}[trained_stages]
    assert changed == expected
    assert not any(torch.equal(head_before[name], head_after[name]) for name in head_before)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_the_cache_changes_no_number(
    transfer: dict[str, Any], configure: Configure, read: Reader, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A convolution's last bit depends on how many images it is given: here always as many.
    for examples in (LabeledImages, LabeledFeatures):
        monkeypatch.setattr(examples, "chunk_size", 32)
    data, config = read(), configure(transfer, model={"head": {"hidden_layers": 1, "width": 8}})
    uncached, without = _trained(config, data, None)
    cached, with_cache = _trained(config, data, cache)
    assert with_cache == without
    for name, tensor in uncached.model.state_dict().items():
        assert torch.equal(tensor, cached.model.state_dict()[name]), name
    best = [result for result in with_cache if result.is_best][-1]
    assert cached.evaluate(data.valid) == (best.valid_loss, best.valid_accuracy)
    half = config.replaced({"feature_cache.dtype": "float16"})
    _, rounded = _trained(half, data, cache)
    assert [result.valid_loss for result in rounded] == pytest.approx([r.valid_loss for r in without], rel=0.01)
    assert rounded != without


@pytest.mark.parametrize("transfer", TRANSFERS[:2])
def test_the_second_training_computes_nothing(
    transfer: dict[str, Any], configure: Configure, read: Reader, cache: FeatureCache
) -> None:
    config = configure(transfer)
    filled = [NUM_IMAGES, 0] if transfer == FROZEN else [NUM_IMAGES, NUM_IMAGES]
    assert _images(config, read(), cache) == [(images, NUM_IMAGES) for images in filled]
    assert _images(config, read(), cache) == [(0, NUM_IMAGES)] * 2
    assert len(list(cache.folder.glob("*.npy"))) == sum(images > 0 for images in filled)


def test_who_shares_an_entry(
    configure: Configure, read: Reader, weights: Path, tmp_path: Path, cache: FeatureCache
) -> None:
    config = configure(FROZEN, epochs=1)
    assert _images(config, read(), cache) == [(NUM_IMAGES, NUM_IMAGES)]
    for same in ({"split_seed": 7}, {"valid_fraction": 0.4}):
        data = read(**same)
        assert _images(config, data, cache) == [(0, NUM_IMAGES)]
        training = start(config, data, cache=cache)
        images, labels = training.prepared(data.valid).slice(0, 9)
        with torch.no_grad():  # each image has its own features, however the images are split
            torch.testing.assert_close(training.phase.valid.slice(0, 9)[0], training.model.body.eval()(images))
        assert torch.equal(training.phase.valid.slice(0, 9)[1], labels)
    other = tmp_path / "other.pt"
    tensors = torch.load(weights)
    tensors["blocks.0.0.bn1.running_mean"] += 0.01
    torch.save(tensors, other)
    changes = ({"image_size": 40}, {"pretrained": str(other)}, {"drop_top_stages": 1})
    for number, model in enumerate(changes, 2):
        assert _images(configure(FROZEN, epochs=1, model=model), read(), cache) == [(NUM_IMAGES, NUM_IMAGES)]
        assert len(list(cache.folder.glob("*.npy"))) == number


@pytest.mark.parametrize("settings", [{"augment": {"flip": True}}, {"feature_cache": {"enabled": False}}])
def test_without_the_cache_every_image_passes(settings: Any, configure: Configure, read: Reader, cache: Any) -> None:
    assert _images(configure(FROZEN, **settings), read(), cache) == [(NUM_IMAGES, 0)] * 2
    assert not cache.folder.exists()


@pytest.mark.parametrize("reason", ["limit", "cut"])
def test_where_it_is_not_used_it_says_so_and_the_numbers_are_the_same(
    reason: str, configure: Configure, read: Reader, cache: FeatureCache, said: list[str], monkeypatch: Any
) -> None:
    config = configure(UNFREEZE[0])
    _, expected = _trained(config, read(), None)

    def refuse(*_: object) -> Any:
        raise CannotSplitError("it is in one piece")

    if reason == "limit":
        config = config.replaced({"feature_cache.limit_gib": 1e-6})
    else:
        monkeypatch.setattr(backbone, "cut", refuse)
    assert _trained(config, read(), cache)[1] == expected
    assert len(said) == 2
    why = (
        "over feature_cache.limit_gib = " if reason == "limit" else f"{NAME} cannot be cut below its top stages: it is"
    )
    assert all(line.startswith("the feature cache is not used: ") and why in line for line in said)
    assert not cache.folder.exists()


def test_views_are_all_that_training_sees(configure: Configure, read: Reader, cache: FeatureCache) -> None:
    config = configure(FROZEN, augment={"crop_padding": 0.3, "flip": True}, feature_cache={"views": 3})
    num_train = len(read().train)
    assert _images(config, read(), cache) == [(NUM_IMAGES + 3 * num_train, NUM_IMAGES), (0, NUM_IMAGES)]
    assert len(list(cache.folder.glob("*.npy"))) == 4
    training = start(config, read(), cache=cache)
    train, valid, rows = training.step.examples, training.phase.valid, torch.arange(20)
    assert isinstance(train, LabeledFeatures)
    assert isinstance(valid, LabeledFeatures)
    assert training.step.augmentation is None
    views = [view.index_select(0, train.rows[rows]) for view in train.views]
    batches = [train.batch(rows)[0] for _ in range(40)]
    seen = [[torch.equal(batch, view) for view in views] for batch in batches]
    assert {row.index(True) for row in seen} == {0, 1, 2}
    assert all(sum(row) == 1 for row in seen)
    (plain,), places = valid.views, read().train.rows
    assert places is not None
    assert not any(torch.equal(plain[places], view) for view in train.views)
    assert _images(config.replaced({"feature_cache.views": 4}), read(), cache)[0] == (num_train, NUM_IMAGES)
    # Another split of the same images has views of its own: what they look like must not hang on who came first.
    other = config.replaced({"data.split_seed": 1})
    assert _images(other, read(split_seed=1), cache)[0] == (3 * num_train, NUM_IMAGES)


def test_where_nothing_is_frozen_nothing_is_cached(configure: Configure, read: Reader, cache: FeatureCache) -> None:
    unfreeze = {"kind": "unfreeze", "frozen_epochs": 0, "unfreeze_top_stages": NUM_STAGES}
    assert _images(configure(unfreeze, epochs=1), read(), cache) == [(NUM_IMAGES, 0)]
    assert not cache.folder.exists()
