"""Reads an export: from the folder alone, from formats that hold no code, nothing used before its checksum is right."""

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import TrialConfig
from pipeline.data.image_data import LabeledImages
from pipeline.export.errors import ExportError
from pipeline.export.folder import verify
from pipeline.export.network import build_network
from pipeline.export.preprocessing import examples
from pipeline.models.dropout import has_dropout
from pipeline.space_file import load_configuration
from pipeline.training.evaluation import predict, predict_by_monte_carlo


@dataclass(frozen=True)
class LoadedExport:
    """A model that was exported, on the processor.

    Attributes:
        config: What it was trained by.
        network: From prepared images (batch, channels, height, width) to logits (batch, classes).
        class_names: A name for each class.
        metrics: The figures that came with it.
    """

    config: TrialConfig
    network: nn.Module
    class_names: tuple[str, ...]
    metrics: dict[str, Any]
    _prepares: LabeledImages

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that it takes."""
        channels, height, width = self._prepares.images.shape[1:]
        return channels, height, width

    @property
    def dtype(self) -> torch.dtype:
        """Type of the images that it takes: uint8, or float32 if the data set had no bytes."""
        return self._prepares.images.dtype

    def probabilities(self, images: Tensor) -> Tensor:
        """Returns probabilities, (batch, classes).

        Args:
            images: (batch, channels, height, width), as the data set holds them.

        Raises:
            ExportError: The images have another type or shape.
        """
        return predict(self.network, self._labeled(images), nullcontext()).exp()

    def sampled(self, images: Tensor, *, samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Predicts by Monte Carlo dropout: Gal and Ghahramani, ICML 2016.

        Args:
            images: (batch, channels, height, width), as the data set holds them.
            samples: Passes, each with masks of its own.
            seed: Seed of the masks; PyTorch's global generator is left as it is.

        Returns:
            Mean of the probabilities over the passes, and their standard deviation, each (batch, classes).

        Raises:
            ExportError: The network has no dropout, or the images have another type or shape.
        """
        if not has_dropout(self.network):
            raise ExportError(
                "Monte Carlo dropout needs a network with dropout; this one has none. Leave --mc-samples out"
            )
        labeled = self._labeled(images)
        with torch.random.fork_rng(devices=[]):
            passes = torch.stack(
                [
                    predict_by_monte_carlo(self.network, labeled, nullcontext(), samples=1, seed=seed + index).exp()
                    for index in range(samples)
                ]
            )
        return passes.mean(0), passes.std(0, correction=0)

    def _labeled(self, images: Tensor) -> LabeledImages:
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape or images.dtype != self.dtype:
            wanted = " x ".join(map(str, self.image_shape))
            raise ExportError(
                f"images must be {self.dtype}, (batch, channels, height, width) with {wanted} each; got "
                f"{images.dtype}, {tuple(images.shape)}"
            )
        if len(images) == 0:
            raise ExportError("there must be at least one image to classify; got none")
        return replace(self._prepares, images=images, labels=torch.zeros(len(images), dtype=torch.int64))


def load_export(folder: Path) -> LoadedExport:
    """Loads an export.

    Args:
        folder: What `export_model` has written.

    Raises:
        ExportError: It is not there, or any file is missing, too many, or changed; names it.
        ModelError: This version of timm has no such backbone.
    """
    from safetensors.torch import load

    verify(folder)
    config = load_configuration(str(folder / "config.yaml"))
    labels, preprocessing, metrics = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("labels", "preprocessing", "metrics")
    )
    prepares = examples(preprocessing)
    channels, height, width = prepares.images.shape[1:]
    network = build_network(
        config,
        load((folder / "model.safetensors").read_bytes()),
        image_shape=(channels, height, width),
        channels=prepares.mean.shape[1],
        num_classes=len(labels),
    )
    return LoadedExport(config, network.module, tuple(labels), metrics, prepares)
