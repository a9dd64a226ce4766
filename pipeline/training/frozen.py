"""What the frozen layers of a network give for a data set, from the cache."""

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.transfer import FeatureCacheConfig
from pipeline.data.augmentation import Augmentation
from pipeline.data.feature_cache import Entry, FeatureCache
from pipeline.data.features import LabeledFeatures
from pipeline.data.image_data import ImageData, LabeledImages

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
    assert train.rows is not None
    assert data.valid.rows is not None
    everything = _Source([(train, train.rows), (data.valid, data.valid.rows)])
    sources = [(key, everything)]
    if augmentation is not None:
        assert settings.views is not None
        positions = torch.arange(len(train), device=device)
        split = hashlib.sha256(train.rows.cpu().numpy().data).hexdigest()
        for view in range(settings.views):
            source = _Source([(train, positions)], augmentation.change_images, seed=view)
            sources.append(({**key, "augmentation": augmented, "split": split, "view": view}, source))
    entries: list[Entry] = []
    for entry_key, source in sources:
        entry = cache.load(
            entry_key,
            shape=(len(source), *feature_shape),
            dtype=DTYPES[settings.dtype],
            limit_bytes=int(settings.limit_gib * 2**30),
            compute=lambda source=source: source.features(below, precision),  # type: ignore[misc]
        )
        if entry is None:
            return None
        entries.append(entry)
    plain, *views = (_near(entry.features, device) for entry in entries)
    train_rows = positions if views else train.rows
    return CachedFeatures(
        LabeledFeatures(tuple(views) or (plain,), train_rows.to(plain.device), train.labels),
        LabeledFeatures((plain,), data.valid.rows.to(plain.device), data.valid.labels),
        computed=sum(entry.built_rows for entry in entries),
    )


@dataclass(frozen=True)
class _Source:
    """What an entry of the cache is computed from.

    Attributes:
        parts: Images, and where in the entry each one's features go, (images,).
        change: Augments the images; None leaves them as they are.
        seed: Of that: the same one gives the same view.
    """

    parts: Sequence[tuple[LabeledImages, Tensor]]
    change: Callable[[Tensor], Tensor] | None = None
    seed: int = 0

    def __len__(self) -> int:
        """How many places there are; an image that is in two parts has one."""
        return 1 + max(int(positions.max()) for _, positions in self.parts)

    def features(self, below: nn.Module, precision: AbstractContextManager[object]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields places (n,) and features (n, ...), chunk by chunk."""
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(self.seed)
            for images, positions in self.parts:
                for rows in torch.split(torch.arange(len(images), device=positions.device), images.chunk_size):
                    inputs, _ = images.batch(rows, self.change)
                    with precision:
                        features = below(inputs)
                    yield positions[rows], features


def _near(features: Tensor, device: torch.device) -> Tensor:
    """Returns features on the training device, if they fit there."""
    if device.type == "cpu" or features.nbytes > SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
        return features
    return features.to(device)
