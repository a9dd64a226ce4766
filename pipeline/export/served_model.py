"""An export at work behind MLflow's pyfunc: all that `mlflow models serve` runs.

MLflow keeps a copy of this file beside the export ("models from code"): nothing is pickled, and a server needs neither
PyTorch nor dnntune, of which nothing may be imported here.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

CHECKSUMS = "SHA256SUMS"
# Of labels.json.
MOST_BYTES = 2**24


class ServedModel(PythonModel):
    """The ONNX model of an export."""

    def load_context(self, context: Any) -> None:
        """Loads the export that MLflow has kept as the artifact ``export``.

        Raises:
            ValueError: A file of it is not as it was exported, or holds something else than it should; names it.
        """
        export = Path(context.artifacts["export"])
        verify(export)
        self.class_names = read_labels(export / "labels.json")
        self.session = load_session(export / "model.onnx", num_classes=len(self.class_names))

    # The hint is bare: it says "no signature" to MLflow, which would warn of any other.
    def predict(
        self,
        context: Any,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Classifies images; MLflow has compared them with the signature.

        Two arrays, and not a record for each image: they keep the images' order, are small as JSON, and are NumPy's in
        Python.

        Args:
            context: Not needed.
            model_input: (batch, channels, height, width), as the data set holds images.
            params: There are none.

        Returns:
            ``labels``, the most probable class of each image, (batch,); ``probabilities``, (batch, classes), float32,
            in the order of labels.json.

        Raises:
            ValueError: A probability is not finite.
        """
        (probabilities,) = self.session.run(["probabilities"], {"images": model_input})
        if not np.isfinite(probabilities).all():
            raise ValueError("the model gives no finite probabilities for these images")
        return {"labels": self.class_names[probabilities.argmax(1)], "probabilities": probabilities}


def verify(export: Path) -> None:
    """Proves that an export has the files that were exported, each as it was.

    Raises:
        ValueError: One is not, or is missing; names it.
    """
    lines = (export / CHECKSUMS).read_text(encoding="ascii", errors="replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if missing := sorted({"labels.json", "model.onnx", *sums} - {file.name for file in export.iterdir()}):
        raise ValueError(f"{export / missing[0]} is missing")
    for file in sorted(export.iterdir()):
        if file.name != CHECKSUMS and sums.get(file.name) != sha256(file):
            raise ValueError(f"{file} is not as it was exported: its checksum is another than in {CHECKSUMS}")


def read_labels(file: Path) -> np.ndarray:
    """Returns the classes' names.

    Raises:
        ValueError: The file holds something else; names it.
    """
    wanted = f"{file} must hold a list of different names, one for each class"
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{wanted}; it is larger than {MOST_BYTES:,} bytes")
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{wanted}: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(wanted)
    return np.array(names)


def load_session(file: Path, *, num_classes: int) -> onnxruntime.InferenceSession:
    """Loads a model that makes probabilities of images.

    Raises:
        ValueError: The file holds none, or one with other inputs and outputs; names it.
    """
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no class in common, and each of them is the file's fault
        raise ValueError(f"{file} cannot be loaded by ONNX Runtime: {error}") from None
    found = [(value.name, len(value.shape), value.shape[-1]) for value in session.get_outputs()]
    inputs = [(value.name, len(value.shape)) for value in session.get_inputs()]
    if inputs != [("images", 4)] or found != [("probabilities", 2, num_classes)]:
        raise ValueError(
            f"{file} must make probabilities (batch, {num_classes}) of images (batch, channels, height, width); its "
            f"inputs are {inputs} and its outputs {found}"
        )
    return session


def sha256(file: Path) -> str:
    """Returns a regular file's checksum in hexadecimal.

    Raises:
        ValueError: It is something else.
    """
    if not file.is_file():  # a pipe would be waited for
        raise ValueError(f"{file} is no regular file")
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


set_model(ServedModel())
