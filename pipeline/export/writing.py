"""Writes an export."""

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.model import BackboneConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import LabeledImages
from pipeline.export.card import model_card
from pipeline.export.environment import environment, without_machine_paths
from pipeline.export.folder import check_folder, new_folder, write_checksums
from pipeline.export.formats.checking import difference, on_processor, run_onnx, run_pt2
from pipeline.export.formats.folding import Folded
from pipeline.export.formats.graphs import check_packages, save_onnx, save_pt2, trace
from pipeline.export.network import Network, build_network
from pipeline.export.preprocessing import Preprocess, WithProbabilities, described
from pipeline.export.reading import load_export
from pipeline.models.build import num_parameters
from pipeline.models.tensors import tensor_bytes, tensors_of
from pipeline.setup.images import prepared
from pipeline.space.files import configuration_text
from pipeline.training.evaluation import predict


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: Where it is.
        num_checked: On how many images each file was compared with the trained model.
        differences: For each file with a model, the largest difference of a probability.
        notes: What a person should know.
    """

    folder: Path
    num_checked: int
    differences: dict[str, float]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for another program."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}


def export_model(
    model: nn.Module,
    *,
    config: TrialConfig,
    images: LabeledImages,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    metrics: Mapping[str, Any],
    folder: Path,
    notes: Sequence[str] = (),
    fold_batch_norm: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Exports a trained model: every file is compared with it before the folder takes its name.

    Args:
        model: From prepared images to logits; on any device, it is left as it is.
        config: What it was trained by.
        images: The images to compare on, standardized by the training images; prepared for the network or not yet.
        class_names: A name for each class.
        image_shape: (channels, height, width), as the data set holds images.
        metrics: Figures for metrics.json and the model card; finite.
        folder: Where to; it is new or empty.
        notes: What else a person should know of the model; it stands in the model card.
        fold_batch_norm: Whether batch normalization is folded into other layers of model.pt2 and model.onnx. ONNX's
            exporter does so anyway where a convolution comes before it. model.safetensors has all tensors, always.
        overwrite: Whether the folder may be an export, which is replaced.

    Raises:
        ExportError: The place is taken, a package is missing, the configuration is another network's, or a file does
            not give what the model gives.
        ModelError: The network cannot be built anew.
    """
    assert tuple(images.images.shape[1:]) == tuple(image_shape)
    check_packages()
    check_folder(folder, overwrite=overwrite)
    images = on_processor(prepared(config.model, images))
    trained = copy.deepcopy(model).cpu()
    expected = predict(trained, images, nullcontext()).exp()
    tensors = tensors_of(trained)
    network = build_network(
        config, tensors, image_shape=image_shape, channels=images.mean.shape[1], num_classes=len(class_names)
    )
    shown_config, cut = without_machine_paths(config)
    # Strides of channels_last would be written into the graph.
    module = network.module.to(memory_format=torch.contiguous_format)
    classifier = WithProbabilities(Preprocess(images), module).eval()
    example = images.images[:1].expand(2, *image_shape).contiguous()
    program, folded = trace(classifier, example, folds=fold_batch_norm)
    notes = (*notes, *_notes(config, network, cut, folded))
    with new_folder(folder, overwrite=overwrite) as partial:
        _write_texts(partial, shown_config, network, images, class_names, metrics, notes)
        _write_tensors(partial, tensors)
        save_pt2(program, partial / "model.pt2")
        save_onnx(program, example, partial / "model.onnx")
        write_checksums(partial)
        files = {
            "model.safetensors": load_export(partial).probabilities,
            "model.pt2": run_pt2(partial / "model.pt2"),
            "model.onnx": run_onnx(partial / "model.onnx"),
        }
        differences = {name: difference(name, file, images, expected) for name, file in files.items()}
    return Exported(folder, len(images), differences, notes)


def _write_texts(
    partial: Path,
    config: TrialConfig,
    network: Network,
    images: LabeledImages,
    class_names: Sequence[str],
    metrics: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    card = model_card(
        _as_trained(config, network),
        images=images,
        class_names=class_names,
        metrics=metrics,
        num_parameters=num_parameters(network.module),
        notes=notes,
    )
    plain = {
        "labels": list(class_names),
        "preprocessing": described(images, len(class_names)).model_dump(mode="json"),
        "metrics": dict(metrics),
        "environment": environment(config),
    }
    texts = {f"{name}.json": json.dumps(value, indent=2, allow_nan=False) + "\n" for name, value in plain.items()}
    for name, text in {**texts, "config.yaml": configuration_text(config), "README.md": card}.items():
        (partial / name).write_text(text, encoding="utf-8")


def _as_trained(config: TrialConfig, network: Network) -> TrialConfig:
    """Returns the configuration with the network that came out, its weights' path as the configuration shows it."""
    if not isinstance(network.model, BackboneConfig) or not isinstance(config.model, BackboneConfig):
        return config
    model = network.model.model_copy(update={"pretrained": config.model.pretrained})
    return config.model_copy(update={"model": model})


def _write_tensors(partial: Path, tensors: Mapping[str, Tensor]) -> None:
    # Through bytes: what safetensors itself writes to, only its owner may read.
    (partial / "model.safetensors").write_bytes(tensor_bytes(tensors))


def _notes(config: TrialConfig, network: Network, cut: Sequence[str], folded: Folded | None) -> list[str]:
    notes = [f"`{path}` was an absolute path; config.yaml has its last name. Set it before training" for path in cut]
    if network.model != config.model:
        notes.append(
            "the network differs from the configured one: progressive unfreezing (`transfer: auto`) has changed it"
        )
    if folded is not None:
        notes.append(
            f"batch normalizations folded into layers beside them: {folded.num_folded}; left as they are, "
            f"for none could take them: {folded.num_left}"
        )
    if config.precision != "float32":
        notes.append(f"trained in {config.precision}; all models here compute in float32")
    return notes
