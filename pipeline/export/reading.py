"""Reads an export: from the folder alone, from formats that hold no code, nothing used before its checksum is right."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.model import BackboneConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import SpaceError
from pipeline.data.columns import Column
from pipeline.data.image_data import LabeledImages
from pipeline.export.description import ENVIRONMENT, LABELS, METRICS, PREPROCESSING, Preprocessing, read_json
from pipeline.export.errors import ExportError
from pipeline.export.folder import verify
from pipeline.export.formats.checking import run_onnx
from pipeline.export.formats.graphs import check_packages
from pipeline.export.network import build_network
from pipeline.export.preprocessing import examples
from pipeline.models.dropout import has_dropout
from pipeline.plugins.needed import are_loaded
from pipeline.space.files import load_configuration
from pipeline.training.evaluation import predict, predict_by_monte_carlo


@dataclass(frozen=True)
class LoadedExport:
    """A model that was exported, on the processor.

    Attributes:
        config: What it was trained by; None where that needs plug-ins that are not loaded.
        network: From prepared images (batch, channels, height, width) to logits (batch, classes); None likewise. Then
            its ONNX graph classifies.
        class_names: A name for each class.
        metrics: The figures that came with it.
        prepares: No images, but with the size, type and standardization of those that it takes.
    """

    config: TrialConfig | None
    network: nn.Module | None
    class_names: tuple[str, ...]
    metrics: dict[str, Any]
    prepares: LabeledImages
    _graph: Callable[[Tensor], Tensor] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that it takes."""
        channels, height, width = self.prepares.images.shape[1:]
        return channels, height, width

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """The columns of a table that it takes; None where it takes images or arrays."""
        return self.prepares.columns

    @property
    def dtype(self) -> torch.dtype:
        """Type of the images that it takes: uint8, or float32 if the data set had no bytes."""
        return self.prepares.images.dtype

    def probabilities(self, images: Tensor) -> Tensor:
        """Returns probabilities, (batch, classes).

        Args:
            images: (batch, channels, height, width), as the data set holds them.

        Raises:
            ExportError: The images have another type or shape, or a probability is not finite.
        """
        labeled = self._labeled(images)
        if self.network is not None:
            return _finite(predict(self.network, labeled, nullcontext()).exp())
        assert self._graph is not None
        return _finite(torch.cat([self._graph(chunk) for chunk in torch.split(images, labeled.chunk_size)]))

    def sampled(self, images: Tensor, *, samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Predicts by Monte Carlo dropout: Gal and Ghahramani, ICML 2016.

        Args:
            images: (batch, channels, height, width), as the data set holds them.
            samples: Passes, each with masks of its own.
            seed: Seed of the masks; PyTorch's global generator is left as it is.

        Returns:
            Mean of the probabilities over the passes, and their standard deviation, each (batch, classes).

        Raises:
            ExportError: The network has no dropout; else as `probabilities`.
        """
        if self.network is None:
            raise ExportError(
                "Monte Carlo dropout needs the network itself, and this one is a plug-in's. Leave --mc-samples out"
            )
        if not has_dropout(self.network):
            raise ExportError(
                "Monte Carlo dropout needs a network with dropout; this one has none. Leave --mc-samples out"
            )
        network, labeled = self.network, self._labeled(images)
        with torch.random.fork_rng(devices=[]):
            passes = torch.stack(
                [
                    predict_by_monte_carlo(network, labeled, nullcontext(), samples=1, seed=seed + index).exp()
                    for index in range(samples)
                ]
            )
        return _finite(passes.mean(0)), passes.std(0, correction=0)

    def _labeled(self, images: Tensor) -> LabeledImages:
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape or images.dtype != self.dtype:
            wanted = " x ".join(map(str, self.image_shape))
            raise ExportError(
                f"images must be {self.dtype}, (batch, channels, height, width) with {wanted} each; got "
                f"{images.dtype}, {tuple(images.shape)}"
            )
        if len(images) == 0:
            raise ExportError("there must be at least one image to classify; got none")
        return replace(self.prepares, images=images, labels=torch.zeros(len(images), dtype=torch.int64))


def _finite(probabilities: Tensor) -> Tensor:
    bad = ~probabilities.isfinite().all(1)
    if bad.any():
        raise ExportError(
            f"probabilities must be finite; those of image {int(bad.int().argmax())} are not: the model's numbers, or "
            "the image's, are too large. Train it again, or look at the image"
        )
    return probabilities


def load_export(folder: Path) -> LoadedExport:
    """Loads an export.

    Args:
        folder: What `export_model` has written.

    Raises:
        ExportError: It is not there; any file is missing, too many, or changed; or what is in one does not fit
            together with the others. Names it.
        ModelError: This version of timm has no such backbone.
    """
    verify(folder)
    class_names = read_json(folder / "labels.json", LABELS)
    metrics = read_json(folder / "metrics.json", METRICS)
    description = read_json(folder / "preprocessing.json", PREPROCESSING)
    if not are_loaded(read_json(folder / "environment.json", ENVIRONMENT).get("plugins", ())):
        return LoadedExport(None, None, class_names, metrics, examples(description), _graph(folder, len(class_names)))
    try:
        config = load_configuration(str(folder / "config.yaml"))
    except SpaceError as error:
        raise ExportError(f"{folder / 'config.yaml'} is not the configuration of a network: {error}") from None
    _check_fit(folder / "preprocessing.json", config, class_names, description)
    weights = folder / "model.safetensors"
    try:
        network = build_network(
            config,
            _tensors(weights),
            image_shape=description.image_shape,
            channels=len(description.mean),
            num_classes=len(class_names),
        )
    except ExportError as error:
        raise ExportError(f"{weights}: {error}") from None
    return LoadedExport(config, network.module, class_names, metrics, examples(description))


def _check_fit(file: Path, config: TrialConfig, class_names: Sequence[str], description: Preprocessing) -> None:
    """Proves that images are prepared for as many classes, and for the network of a configuration."""
    wanted: dict[str, object] = {"output.shape": ("batch", len(class_names))}
    found: dict[str, object] = {"output.shape": description.output.shape}
    if isinstance(config.model, BackboneConfig):
        from pipeline.models.backbones.backbone import image_size

        wanted |= {"image_size": image_size(config.model)}
    else:
        wanted |= {"image_size": None, "the channels of mean": description.image_shape[0]}
    found |= {"image_size": description.image_size, "the channels of mean": len(description.mean)}
    for name, value in wanted.items():
        if found[name] != value:
            raise ExportError(
                f"{file}: {name} must be {value}, as labels.json and config.yaml have it; got {found[name]}. "
                "Export the model again"
            )


def _graph(folder: Path, num_classes: int) -> Callable[[Tensor], Tensor]:
    """Returns an export's ONNX graph at work, proven to give a probability for each class."""
    file = folder / "model.onnx"
    check_packages()
    try:
        graph = run_onnx(file)
    except Exception as error:  # ONNX Runtime's have no class in common
        raise ExportError(f"{file} must be a graph that ONNX Runtime reads: {error}. Export the model again") from None

    def classify(images: Tensor) -> Tensor:
        probabilities = graph(images)
        if tuple(probabilities.shape) != (len(images), num_classes):
            raise ExportError(f"{file} must give a probability for each of {num_classes} classes. Export it again")
        return probabilities

    return classify


def _tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError, LookupError, ValueError, RuntimeError) as error:
        raise ExportError(f"it must be a file of tensors: {error}. Export the model again") from None
