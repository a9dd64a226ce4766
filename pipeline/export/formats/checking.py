"""An export's three models against the one that was trained, on real images, from the files that were written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data.image_data import LabeledImages
from pipeline.export.errors import ExportError

TOLERANCE = 1e-4

# From images, as users hold them, to probabilities (batch, classes).
Classifier = Callable[[Tensor], Tensor]


def run_pt2(file: Path) -> Classifier:
    """Returns what a .pt2 file computes."""
    program = torch.export.load(file)
    return program.module()


def run_onnx(file: Path) -> Classifier:
    """Returns what ONNX Runtime computes of an .onnx file."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def classify(images: Tensor) -> Tensor:
        (probabilities,) = session.run(["probabilities"], {"images": images.numpy()})
        return torch.from_numpy(probabilities)

    return classify


@torch.no_grad()
def difference(name: str, classifier: Classifier, images: LabeledImages, expected: Tensor) -> float:
    """Compares a file's probabilities with the trained model's.

    Args:
        name: The file's.
        classifier: What it computes.
        images: The images, on the processor.
        expected: The trained model's probabilities, (images, classes).

    Returns:
        The largest difference of a probability.

    Raises:
        ExportError: A label differs, or a probability differs by `TOLERANCE` or more.
    """
    # All but the first go in chunks of any size; that one goes alone, for a graph may have taken one for a constant.
    chunks = [images.images[:1], *torch.split(images.images[1:], images.chunk_size)]
    found = torch.cat([classifier(chunk) for chunk in chunks if len(chunk)])
    largest = float((found - expected).abs().max())
    others = int((found.argmax(1) != expected.argmax(1)).sum())
    if others or not largest < TOLERANCE:  # a NaN is not less
        raise ExportError(
            f"{name} must give what the trained model gives, probabilities within {TOLERANCE}; of {len(images)} images "
            f"{others} get another label, and the largest difference is {largest:.2g}. Nothing was exported"
        )
    return largest


def on_processor(images: LabeledImages) -> LabeledImages:
    """Returns the same images on the processor."""
    tensors = {name: getattr(images, name).cpu() for name in ("images", "labels", "mean", "scale")}
    return replace(images, **tensors, rows=None)
