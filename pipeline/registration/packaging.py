"""A model's export as MLflow keeps it: with a signature, an example and what a server has to install; not pickled."""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.quiet import quiet

if TYPE_CHECKING:
    from mlflow.models import Model

# Below the folder of an MLflow model: the export.
EXPORT = "artifacts/export"
# All that a server needs.
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime")


def package(export: Path, *, script: Path, example: Any, num_classes: int, model: "Model", folder: Path) -> None:
    """Writes an export as an MLflow model, in pyfunc's flavor.

    Args:
        export: Folder of the export.
        script: The Python file that loads the export and predicts; it is copied.
        example: Images of the data set, an array (images, channels, height, width) as the data set holds them.
        num_classes: How many classes there are.
        model: What MLflow knows of the model so far; gets a signature.
        folder: Where to; it is new.
    """
    import mlflow.pyfunc

    # It would say that an example is large, and that a checked folder has no type hints.
    with quiet("mlflow"):
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(script),
            artifacts={"export": str(export)},
            signature=signature(example, num_classes),
            input_example=example,
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
            mlflow_model=model,
        )


def signature(example: Any, num_classes: int) -> Any:
    """Returns what a served model takes and gives, for MLflow to check.

    Args:
        example: An array (images, channels, height, width).
        num_classes: How many classes there are.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(example.dtype, (-1, *example.shape[1:]))
    labels = TensorSpec(np.dtype("str"), (-1,), "labels")
    probabilities = TensorSpec(np.dtype("float32"), (-1, num_classes), "probabilities")
    return ModelSignature(inputs=Schema([images]), outputs=Schema([labels, probabilities]))
