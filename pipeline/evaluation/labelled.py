"""Image files whose folders name their classes: what a model's predictions of them are worth."""

from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline.core.errors import DataError
from pipeline.core.text import shortened
from pipeline.evaluation.intervals import Interval, wilson_interval
from pipeline.evaluation.metrics import class_results, confusion_matrix
from pipeline.export.prediction import Prediction
from pipeline.records.final import ClassResult


class Labelled:
    """The true classes of image files, and the predictions of them.

    Args:
        class_names: A name for each class.
        files: All files; each lies in a folder with the name of its class, ``root/CLASS/image.png``.

    Raises:
        DataError: A file lies in no class's folder; names it.
    """

    def __init__(self, class_names: tuple[str, ...], files: Sequence[Path]) -> None:
        self.class_names = class_names
        self._predicted: list[int] = []
        self._true: list[int] = []
        for file in files:
            if file.absolute().parent.name not in class_names:
                known = shortened(", ".join(class_names), 300)
                raise DataError(
                    f"{file}: with --labelled an image's folder is named after its class. The classes are {known}"
                )

    def add(self, prediction: Prediction) -> int:
        """Takes a prediction in; returns the true class."""
        true = self.class_names.index(prediction.file.absolute().parent.name)
        self._true.append(true)
        self._predicted.append(prediction.label)
        return true

    def results(self) -> tuple[float, Interval, tuple[ClassResult, ...]]:
        """Returns the accuracy, its 95 % interval (Wilson), and each class's precision and recall."""
        predicted, true = torch.tensor(self._predicted), torch.tensor(self._true)
        confusion = confusion_matrix(predicted, true, len(self.class_names))
        accuracy = float(confusion.diag().sum()) / len(true)
        return accuracy, wilson_interval(accuracy, len(true)), class_results(confusion, self.class_names)
