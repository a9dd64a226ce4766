import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from torch import Tensor

from pipeline.data.image_data import LabeledImages
from pipeline.evaluation.intervals import wilson_interval
from pipeline.evaluation.metrics import (
    PICTURE_SIZE,
    class_results,
    confusion_matrix,
    largest_confusions,
    model_metrics,
    most_misclassified,
    picture,
)
from pipeline.records.final import Confusion

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
PREDICTED = torch.tensor([0, 0, 1, 1, 1, 1])


def labeled(images: Tensor, labels: Tensor) -> LabeledImages:
    return LabeledImages(images, labels, torch.zeros((1, 1, 1, 1)), torch.ones((1, 1, 1, 1)))


def shown(text: str) -> "np.ndarray":
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_row_is_a_true_class_and_a_column_a_predicted_one() -> None:
    assert confusion_matrix(PREDICTED, LABELS, 3).tolist() == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]


def test_precision_and_recall() -> None:
    found = class_results(confusion_matrix(PREDICTED, LABELS, 3), ["a", "b", "c"])
    assert [(c.name, c.images) for c in found] == [("a", 3), ("b", 2), ("c", 1)]
    assert [c.precision for c in found] == [1.0, 0.5, None]  # c is never predicted
    assert [c.recall for c in found] == [pytest.approx(2 / 3), 1.0, 0.0]


def test_f1_is_scikit_learns() -> None:
    found = class_results(confusion_matrix(PREDICTED, LABELS, 3), ["a", "b", "c"])
    expected = f1_score(LABELS.numpy(), PREDICTED.numpy(), average=None)
    assert [c.f1 for c in found] == pytest.approx(expected.tolist())
    assert class_results(confusion_matrix(PREDICTED, LABELS, 4), "abcd")[3].f1 is None


def test_the_largest_confusions_come_first() -> None:
    confusion = torch.tensor([[90, 7, 3], [0, 50, 0], [0, 9, 1]])
    found = largest_confusions(confusion, ["a", "b", "c"])
    assert found == (Confusion("c", "b", 9, 0.9), Confusion("a", "b", 7, 0.07), Confusion("a", "c", 3, 0.03))
    assert largest_confusions(torch.eye(3, dtype=torch.int64), ["a", "b", "c"]) == ()


def test_a_class_without_images_has_no_recall() -> None:
    assert class_results(confusion_matrix(PREDICTED, LABELS, 4), "abcd")[3].recall is None


def test_accuracy_comes_with_its_interval() -> None:
    probabilities = torch.nn.functional.one_hot(PREDICTED, 3) * 0.7 + 0.1
    found = model_metrics(probabilities.log(), LABELS)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.interval == wilson_interval(found.accuracy, 6)
    assert found.log_likelihood == pytest.approx((4 * np.log(0.8) + 2 * np.log(0.1)) / 6)


def test_the_most_confident_mistakes_come_first() -> None:
    logs = torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.05, 0.95], [0.4, 0.6]]).log()
    images = labeled(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), torch.tensor([0, 0, 0, 1]))
    found = most_misclassified(logs, images)
    assert [(c.row, c.label, c.predicted) for c in found] == [(2, 0, 1), (0, 0, 1)]
    assert found[0].probability == pytest.approx(0.95)
    assert shown(found[0].png).tolist() == [[2]]


def test_pictures_have_the_colors_of_the_images() -> None:
    image = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    assert (shown(picture(image)) == image.permute(1, 2, 0).numpy()).all()


def test_a_large_picture_is_made_small() -> None:
    assert shown(picture(torch.zeros((1, 300, 200), dtype=torch.uint8))).shape == (PICTURE_SIZE, 64)


def test_floats_are_stretched_to_bytes() -> None:
    assert shown(picture(torch.tensor([[[-1.0, 0.0, 3.0]]]))).tolist() == [[0, 64, 255]]
    assert shown(picture(torch.full((1, 2, 2), 7.0))).tolist() == [[0, 0], [0, 0]]
