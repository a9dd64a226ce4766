"""What the frozen layers of a network give for a data set, from the cache."""

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.feature_cache import Entry, FeatureCache
from pipeline.data.features import LabeledFeatures
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.training.augmentation import Augmentation
from pipeline.transfer_config import FeatureCacheConfig

DTYPES = {"float32": torch.float32, "float16": torch.float16}
# Packages whose code decides what a layer gives.
VERSIONED = ("torch", "timm")
# Share of a GPU's free memory that features may take; larger ones stay on the processor.
SHARE_OF_GPU = 0.5


@dataclass(frozen=True)
class CachedFeatures:
    """Both parts of a data set as features, and how many images had to pass through the frozen layers for them."""

    train: LabeledFeatures
    valid: LabeledFeatures
    computed: int


def cached_features(
    below: nn.Module,
    feature_shape: tuple[int, ...],
    data: ImageData,
    *,
    cache: FeatureCache,
    settings: FeatureCacheConfig,
    augmentation: Augmentation | None,
    augmented: dict[str, Any],
    described: dict[str, Any],
    precision: AbstractContextManager[object],
) -> CachedFeatures | None:
    """Returns what frozen layers give for all images, computing it if no process on this machine has.

    Args:
        below: The frozen layers, deterministic, from prepared images to features.
        feature_shape: Of what they give for one image.
        data: Prepared images.
        cache: Where features are kept.
        settings: How.
        augmentation: Random changes of the training images, of which ``settings.views`` are kept; None for none.
        augmented: The settings of the augmentation.
        described: What else decides the features, in plain values: the layers and their weights, and the images.
        precision: Context for forward passes.

    Returns:
        None where the cache is not used; it has said why.
    """
    train, device = data.train, data.train.labels.device
    key = {
        **described,
        "image_size": train.image_size,
        "mean": train.mean.flatten().tolist(),
        "scale": train.scale.flatten().tolist(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
    }

    def load(key: dict[str, Any], change: Callable[[Tensor], Tensor] | None, seed: int) -> Entry | None:
        return cache.load(
            key,
            shape=(len(data.train) + len(data.valid), *feature_shape),
            dtype=DTYPES[settings.dtype],
            limit_bytes=int(settings.limit_gib * 2**30),
            compute=lambda: _compute(below, data, change, seed, precision),
        )

    entries = [load(key, None, 0)]
    if augmentation is not None:
        assert settings.views is not None
        change, views = augmentation.change_images, range(settings.views)
        entries += [load({**key, "augmentation": augmented, "view": view}, change, view) for view in views]
    found = [entry for entry in entries if entry is not None]
    if len(found) < len(entries):
        return None
    plain, *views_of_train = (_near(entry.features, device) for entry in found)

    def part(images: LabeledImages, views: tuple[Tensor, ...]) -> LabeledFeatures:
        assert images.rows is not None
        return LabeledFeatures(views, images.rows.to(plain.device), images.labels)

    return CachedFeatures(
        part(data.train, tuple(views_of_train) or (plain,)),
        part(data.valid, (plain,)),
        computed=sum(entry.built_rows for entry in found),
    )


def _compute(
    below: nn.Module,
    data: ImageData,
    change: Callable[[Tensor], Tensor] | None,
    seed: int,
    precision: AbstractContextManager[object],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields rows (n,) and their features (n, ...), chunk by chunk; the same seed gives the same augmented view."""
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        for part in (data.train, data.valid):
            assert part.rows is not None
            for rows in torch.split(torch.arange(len(part), device=part.labels.device), part.chunk_size):
                images, _ = part.batch(rows, change)
                with precision:
                    yield part.rows[rows], below(images)


def _near(features: Tensor, device: torch.device) -> Tensor:
    """Returns features on the training device, if they fit there."""
    if device.type == "cpu" or features.nbytes > SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
        return features
    return features.to(device)
