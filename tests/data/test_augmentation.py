"""Augmentation: each setting alone does what it says, on images whose every pixel is known."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from pipeline.config import transfer as configs
from pipeline.config.schema import kinds_of
from pipeline.core.errors import DataError
from pipeline.data import augmentation as augment

KINDS = tuple(kinds_of(configs.AugmentConfig).values())
GROUP, NUM_CLASSES = augment.IMAGES_PER_GROUP, 5
LABELS = torch.arange(400) % NUM_CLASSES
OF_IMAGES = {"crop_padding": 0.25, "flip": True, "color_jitter": 0.5, "rand_augment": 2}
ALL = {**OF_IMAGES, "erase": 1.0, "mixup": 1.0, "cutmix": 1.0}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _build(**settings: Any) -> augment.Augmentation:
    built = augment.build_augmentation(configs.CustomAugmentation(**settings), NUM_CLASSES)
    assert built is not None
    return built


def _numbered(*shape: int) -> Tensor:
    return torch.arange(math.prod(shape), dtype=torch.float32).view(shape)


def _bytes(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(5)).to(torch.uint8)


def _windows(image: Tensor, rows: int, columns: int) -> dict[tuple[int, int], Tensor]:
    height, width = image.shape[1:]
    padded = functional.pad(image[None], (columns, columns, rows, rows), mode="reflect")[0]
    places = [(top, left) for top in range(2 * rows + 1) for left in range(2 * columns + 1)]
    return {(top, left): padded[:, top : top + height, left : left + width] for top, left in places}


def _is_rectangle(mask: Tensor) -> bool:
    return torch.equal(mask, mask.any(1)[:, None] & mask.any(0)[None])


def _mixed(seed: int, **settings: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns images, each of one value and a class of its own, what became of them, and their targets."""
    torch.manual_seed(seed)
    images = torch.arange(float(NUM_CLASSES)).view(-1, 1, 1, 1).expand(-1, 2, 12, 10)
    return images, *_build(**settings).change_batch(images, LABELS[:NUM_CLASSES])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_switched_on_is_none(kind: Any) -> None:
    nothing = dict.fromkeys(ALL, 0) | {"flip": False, "rand_augment_magnitude": 30}
    config = kind() if kind is configs.NoAugmentation else kind(**nothing)
    assert augment.build_augmentation(config, NUM_CLASSES) is None


def test_the_settings_are_all_here() -> None:
    assert {*ALL, "kind", "rand_augment_magnitude"} == configs.AugmentationBlock.model_fields.keys()


@pytest.mark.parametrize("setting", sorted(ALL))
def test_every_setting_alone_changes_something(setting: str) -> None:
    built = _build(**{setting: ALL[setting]})
    images, labels = _bytes(40, 3, 16, 16), LABELS[:40]
    assert torch.equal(built.change_images(images), images) == (setting not in OF_IMAGES)
    inputs, targets = built.change_batch(images.float(), labels)
    assert torch.equal(inputs, images.float()) == (setting in OF_IMAGES)
    assert built.mixes == (targets is not labels) == (setting in ("mixup", "cutmix"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not configs.NoAugmentation])
@pytest.mark.parametrize("size", [1, 2, GROUP + 1])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 7)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_kind_keeps_the_contract(kind: Any, size: int, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    built = augment.build_augmentation(
        kind.model_validate(ALL if kind is configs.CustomAugmentation else {}), NUM_CLASSES
    )
    images, labels = _bytes(size, *shape).to(dtype), LABELS[:size].clone()
    before: tuple[Tensor, ...] = images.clone(), labels.clone()
    changed = built.change_images(images)
    assert (changed.shape, changed.dtype) == (images.shape, dtype)
    standardized = (changed.float() - 128.0) / 64.0
    before += (standardized.clone(),)
    inputs, targets = built.change_batch(standardized, labels)
    assert (inputs.shape, inputs.dtype) == (images.shape, torch.float32)
    assert all(torch.equal(*pair) for pair in zip((images, labels, standardized), before, strict=True))
    assert built.mixes or targets is labels
    if built.mixes:
        assert targets.shape == (size, NUM_CLASSES)
        torch.testing.assert_close(targets.sum(1), torch.ones(size))


def test_the_seed_decides_everything() -> None:
    def run(seed: int, other: int) -> tuple[Tensor, Tensor, Tensor]:
        random.seed(other)
        np.random.seed(other)
        torch.manual_seed(seed)
        changed = _build(**ALL).change_images(_bytes(30, 3, 9, 9))
        return changed, *_build(**ALL).change_batch(changed.float(), LABELS[:30])

    first, again, different = run(1, 1), run(1, 2), run(2, 1)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(first, different, strict=True))


@pytest.mark.parametrize(
    ("padding", "rows", "columns", "flip"),
    [(0.25, 2, 1, True), (0.25, 2, 1, False), (0.5, 4, 2, False), (0.125, 1, 0, True), (0.0, 0, 0, True)],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_each_image_has_a_window_of_its_own(padding: float, rows: int, columns: int, flip: bool, channels: int) -> None:
    images = _numbered(600, channels, 8, 4)
    found = []
    for image, changed in zip(images, _build(crop_padding=padding, flip=flip).change_images(images), strict=True):
        windows = _windows(image, rows, columns)
        found += [(place, False) for place, window in windows.items() if torch.equal(window, changed)]
        if flip:
            found += [(place, True) for place, window in windows.items() if torch.equal(window.flip(2), changed)]
    assert len(found) == len(images)
    assert {place for place, _ in found} == set(windows)
    assert max(found.count(each) for each in set(found)) < 4 * len(images) / len(windows)
    assert not flip or 250 <= sum(mirrored for _, mirrored in found) <= 350


@pytest.mark.parametrize(("size", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_tiny_images_have_windows(size: int, padding: int) -> None:
    images = _numbered(50, 1, size, size)
    for image, changed in zip(images, _build(crop_padding=0.5).change_images(images), strict=True):
        assert any(torch.equal(window, changed) for window in _windows(image, padding, padding).values())


def test_brightness_has_a_factor_for_each_group() -> None:
    images = torch.full((20 * GROUP - 3, 3, 4, 4), 100).byte()  # one gray: contrast and saturation do not change it
    values = [int(group.unique()) for group in _build(color_jitter=0.4).change_images(images).split(GROUP)]
    assert 59 <= min(values) < 75 < 125 < max(values) <= 140


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("setting", ["color_jitter", "rand_augment"])
def test_groups_are_changed_as_torchvision_does(setting: str, channels: int) -> None:
    images = _bytes(3 * GROUP + 2, channels, 12, 10)
    torch.manual_seed(1)
    transform = v2.ColorJitter(0.5, 0.5, 0.5) if setting == "color_jitter" else v2.RandAugment(2, 20)
    expected = torch.cat([transform(group) for group in images.split(GROUP)])
    torch.manual_seed(1)
    built = _build(**{setting: OF_IMAGES[setting]}, rand_augment_magnitude=20)
    assert torch.equal(built.change_images(images), expected)


def test_floats_are_changed_as_bytes_are() -> None:
    images = _bytes(16, 3, 12, 10)
    images[0, 0, 0, :2] = torch.tensor([0, 255])
    torch.manual_seed(3)
    expected = _build(color_jitter=0.5).change_images(images).float() / 255.0 * 10.0 - 3.0
    torch.manual_seed(3)
    changed = _build(color_jitter=0.5).change_images(images.float() / 255.0 * 10.0 - 3.0)
    torch.testing.assert_close(changed, expected, atol=4.0 / 255.0 * 10.0, rtol=0.0)  # bytes are rounded down thrice


@pytest.mark.parametrize("images", [_numbered(64, 1, 8, 8) - 1000.0, torch.full((20, 1, 4, 4), -2.5)])
def test_floats_stay_in_their_range(images: Tensor) -> None:
    changed = _build(color_jitter=1.0, rand_augment=2).change_images(images)
    ends = torch.cat([images, changed]).aminmax()
    torch.testing.assert_close(tuple(ends), tuple(images.aminmax()), atol=0.01, rtol=0.0)


@pytest.mark.parametrize(("setting", "channels"), [("color_jitter", 4), ("rand_augment", 2)])
def test_colors_of_other_channels_are_refused(setting: str, channels: int) -> None:
    with pytest.raises(DataError, match=f"1 or 3 channels; got {channels}: set both to 0"):
        _build(**{setting: OF_IMAGES[setting]}).change_images(_bytes(2, channels, 8, 8))


@pytest.mark.parametrize("shape", [(32, 32), (28, 28), (64, 16), (4, 5), (9, 100), (1, 1), (2, 3), (1, 7)])
def test_what_is_erased_is_a_rectangle_of_the_right_size(shape: tuple[int, int]) -> None:
    erased = _build(erase=1.0).change_batch(torch.ones(300, 2, *shape), LABELS[:300])[0] == 0.0
    assert torch.equal(erased[:, 0], erased[:, 1])
    assert all(_is_rectangle(mask) for mask in erased[:, 0])
    assert erased.any(0).all()
    shares = erased.float().mean((1, 2, 3))
    assert shares.min() >= 0.02 - 1e-6
    assert shares.max() <= 0.33 + 1e-6 or min(shape) < 4


def test_areas_aspects_and_places_of_erased_rectangles() -> None:
    erased = (augment.erase_rectangles(torch.ones(1500, 1, 120, 60), probability=1.0) == 0.0)[:, 0]
    shares = erased.float().mean((1, 2))
    aspects = (erased.any(2).float().mean(1) / erased.any(1).float().mean(1)).log()
    assert (float(shares.mean()), float(shares.std())) == pytest.approx((0.175, 0.31 / 12**0.5), abs=0.01)
    assert [*aspects.aminmax(), aspects.mean()] == pytest.approx([np.log(0.3), -np.log(0.3), 0.0], abs=0.1)
    touches = [erased[:, 0, :], erased[:, -1, :], erased[:, :, 0], erased[:, :, -1]]
    assert all(5 < int(touch.any(1).sum()) < 200 for touch in touches)


def test_erasing_has_its_probability_and_spares_the_rest() -> None:
    inputs = 1.0 + _numbered(400, 3, 8, 8)
    changed, _ = _build(erase=0.25).change_batch(inputs, LABELS)
    assert torch.equal(changed[changed != 0.0], inputs[changed != 0.0])
    assert 65 <= int((changed == 0.0).flatten(1).any(1).sum()) <= 135


@pytest.mark.parametrize("alpha", [1e-300, 1e-3, 0.2, 2.0, 1e6, 1e300])
def test_weights_have_the_moments_of_beta(alpha: float) -> None:
    weights = torch.tensor([augment.draw_weight(alpha) for _ in range(2000)], dtype=torch.float64)
    deviation = (8.0 * alpha + 4.0) ** -0.5
    assert float(weights.mean()) == pytest.approx(0.5, abs=4.0 * deviation / 2000**0.5 + 1e-12)
    assert float(weights.std()) == pytest.approx(deviation, rel=0.035, abs=1e-12)


def test_mixup_averages_images_as_it_does_labels() -> None:
    weights = []
    for seed in range(20):
        images, changed, targets = _mixed(seed, mixup=1.0)
        torch.testing.assert_close(changed, torch.einsum("ij,jchw->ichw", targets, images))
        assert ((targets > 0.0).sum(1) == 2).all()
        assert targets.diagonal().unique().numel() == 1
        weights.append(float(targets[0, 0]))
    assert min(weights) < 0.3 < 0.7 < max(weights)


def test_cutmix_weighs_labels_by_the_pixels_kept() -> None:
    for seed in range(20):
        images, changed, targets = _mixed(seed, cutmix=1.0)
        replaced = changed != images
        assert torch.equal(changed, torch.where(replaced, images.roll(1, 0), images))
        assert torch.equal(replaced, replaced[:1, :1].expand_as(replaced))
        assert _is_rectangle(replaced[0, 0])
        kept = 1.0 - replaced.float().mean((1, 2, 3))
        torch.testing.assert_close(targets, kept.diag() + (1.0 - kept).diag().roll(-1, 1))


def test_the_rectangle_of_cutmix_has_the_area_drawn_and_is_anywhere() -> None:
    """Beta(1e9, 1e9) is 1/2: sides of 14 of 20 pixels, of 7 at least where the border cuts them off."""
    images = torch.arange(2.0).view(2, 1, 1, 1).expand(-1, 1, 20, 20)
    mixed = [_build(cutmix=1e9).change_batch(images, LABELS[:2])[0] for _ in range(200)]
    masks = torch.stack([(each != images)[0, 0] for each in mixed])
    for sides in (masks.any(1).sum(1), masks.any(2).sum(1)):
        assert (int(sides.min()), int(sides.max())) == (7, 14)
    assert masks.any(0).all()


def test_with_both_one_of_the_two_is_drawn() -> None:
    batches = [_mixed(seed, mixup=1.0, cutmix=1.0)[1] for seed in range(60)]
    assert 15 <= sum(torch.equal(changed, changed.round()) for changed in batches) <= 45


def test_what_is_drawn_for_each_image_stays_on_the_device() -> None:
    """A meta tensor refuses to mix with tensors of the processor, and to be read."""
    images = torch.empty(4, 3, 8, 8, device="meta")
    assert augment.erase_rectangles(augment.cut_windows(images, padding=0.25, flip=True), probability=0.5).is_meta
