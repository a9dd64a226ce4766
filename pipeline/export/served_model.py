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


class ServedModel(PythonModel):
    """The ONNX model of an export."""

    def load_context(self, context: Any) -> None:
        """Loads the export that MLflow has kept as the artifact ``export``.

        Raises:
            ValueError: A file of it is not as it was exported; names it.
        """
        export = Path(context.artifacts["export"])
        verify(export)
        self.class_names = np.array(json.loads((export / "labels.json").read_text(encoding="utf-8")))
        self.session = onnxruntime.InferenceSession(export / "model.onnx", providers=["CPUExecutionProvider"])

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
        """
        (probabilities,) = self.session.run(["probabilities"], {"images": model_input})
        return {"labels": self.class_names[probabilities.argmax(1)], "probabilities": probabilities}


def verify(export: Path) -> None:
    """Proves that each file of an export is as it was exported.

    Raises:
        ValueError: One is not; names it.
    """
    lines = (export / CHECKSUMS).read_text(encoding="ascii").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for file in sorted(export.iterdir()):
        if file.name != CHECKSUMS and sums.get(file.name) != sha256(file):
            raise ValueError(f"{file} is not as it was exported: its checksum is another than in {CHECKSUMS}")


def sha256(file: Path) -> str:
    """Returns a file's checksum in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


set_model(ServedModel())
