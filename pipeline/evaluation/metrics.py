"""What predicted probabilities are worth, class by class and image by image; how fast a model is."""

import base64
import dataclasses
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.image_data import LabeledImages
from pipeline.evaluation.intervals import wilson_interval
from pipeline.evaluation.speed import batch_seconds
from pipeline.records.final import ClassResult, Confusion, Misclassified, ModelMetrics, Speed
from pipeline.training.evaluation import classification_metrics

BATCH_SIZES = (1, 256)
MAX_MISCLASSIFIED = 24
MAX_CONFUSIONS = 5
# Pixels of a picture's longer side: a report has room for no more.
PICTURE_SIZE = 96


def model_metrics(log_probabilities: Tensor, labels: Tensor) -> ModelMetrics:
    """Measures probabilities.

    Args:
        log_probabilities: Their logarithms, (images, classes).
        labels: The right classes, (images,).
    """
    found = classification_metrics(log_probabilities, labels)
    return ModelMetrics(**dataclasses.asdict(found), interval=wilson_interval(found.accuracy, len(labels)))


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Returns how many images of each class (row) were given each class (column), (classes, classes), int64."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def class_results(confusion: Tensor, class_names: Sequence[str]) -> tuple[ClassResult, ...]:
    """Returns precision and recall of each class.

    Args:
        confusion: See `confusion_matrix`.
        class_names: A name for each class.
    """

    def share(count: int, of: int) -> float | None:
        return count / of if of else None

    right, images, given = confusion.diag().tolist(), confusion.sum(1).tolist(), confusion.sum(0).tolist()
    return tuple(
        ClassResult(name, images[index], share(right[index], given[index]), share(right[index], images[index]))
        for index, name in enumerate(class_names)
    )


def largest_confusions(confusion: Tensor, class_names: Sequence[str]) -> tuple[Confusion, ...]:
    """Returns which classes were taken for which others, the most images first; at most `MAX_CONFUSIONS`.

    Args:
        confusion: See `confusion_matrix`.
        class_names: A name for each class.
    """
    wrong = confusion.clone().fill_diagonal_(0).flatten()
    largest = wrong.argsort(descending=True, stable=True)[:MAX_CONFUSIONS].tolist()
    totals = confusion.sum(1).tolist()
    found = []
    for place in largest:
        label, predicted = divmod(place, len(class_names))
        if images := int(wrong[place]):
            found.append(Confusion(class_names[label], class_names[predicted], images, images / totals[label]))
    return tuple(found)


def most_misclassified(log_probabilities: Tensor, images: LabeledImages) -> tuple[Misclassified, ...]:
    """Returns the images that were classified wrongly with the most confidence, the most confident first.

    Args:
        log_probabilities: (images, classes), on the processor.
        images: The images.
    """
    labels = images.labels.cpu()
    confidence, predicted = log_probabilities.exp().max(1)
    wrong = (predicted != labels).nonzero().flatten()
    rows = wrong[confidence[wrong].argsort(descending=True, stable=True)][:MAX_MISCLASSIFIED].tolist()
    return tuple(
        Misclassified(row, int(labels[row]), int(predicted[row]), float(confidence[row]), picture(images.images[row]))
        for row in rows
    )


def picture(image: Tensor) -> str:
    """Returns an image as a PNG file in base64, no larger than `PICTURE_SIZE`.

    Args:
        image: (channels, height, width), bytes or floats; floats are stretched to the whole range. Of channels that
            are neither 1 nor 3 the first one is shown.
    """
    from PIL import Image

    pixels = image.cpu().numpy()
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255.0 / (high - low or 1.0))).round().astype(np.uint8)
    shown = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    drawn = Image.fromarray(np.ascontiguousarray(shown))
    drawn.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
    file = io.BytesIO()
    drawn.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def speeds(model: nn.Module, images: LabeledImages, precision: AbstractContextManager[object]) -> tuple[Speed, ...]:
    """Times a model's predictions, one image at a time and many.

    Args:
        model: The network.
        images: Prepared images.
        precision: Context for forward passes.
    """
    seconds = {size: batch_seconds(model, images, precision, batch_size=size) for size in BATCH_SIZES}
    return tuple(Speed(size, 1e3 * taken, size / taken) for size, taken in seconds.items())
