"""One run of a published setting: its images prepared as the source has them, its figures measured where it did."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.reference.settings import Scaling, Setting
from pipeline.config.data import FashionMnist
from pipeline.config.study import StudyConfig
from pipeline.data.image_data import ImageData, LabeledImages, to_device
from pipeline.data.images import Images, check
from pipeline.data.sources.idx import read_fashion_mnist
from pipeline.data.sources.user_data import data_folders
from pipeline.data.split import stratified_split
from pipeline.records.results import EpochResult
from pipeline.records.verdict import judge
from pipeline.training.evaluation import classification_metrics, predict, predict_by_monte_carlo
from pipeline.training.start import start

MC_SAMPLES = 100
FIRST = 5_000
RANDOM_FRACTION = 0.3


@dataclass(frozen=True)
class Run:
    """A run of a setting.

    Attributes:
        epochs: Its epochs.
        figures: valid_accuracy, test_accuracy and, with dropout, test_accuracy_mc.
        verdict: The word of its verdict.
        started: When it began, a Unix time in seconds.
        ended: When it ended.
    """

    epochs: list[EpochResult]
    figures: dict[str, float]
    verdict: str
    started: float
    ended: float


def run(setting: Setting, seed: int) -> Run:
    """Trains a setting once, with one thread."""
    started = time.time()
    torch.set_num_threads(1)
    config = setting.trial(seed)
    data, test = prepare(setting)
    training = start(config, data, measure_every=StudyConfig().gradient_flow_steps)
    epochs: list[EpochResult] = []
    figures: dict[str, float] = {}
    for epoch in training.epochs:
        epochs.append(epoch)
        if epoch.epoch == config.epochs and not setting.stops_early:
            # The best epoch's weights come back when the loop ends; the sources measured the last epoch's.
            figures = {"valid_accuracy": epoch.valid_accuracy, "test_accuracy": training.evaluate(test)[1]}
            if setting.test_mc is not None:
                log_probabilities = predict_by_monte_carlo(
                    training.model, test, training.precision, samples=MC_SAMPLES, seed=seed
                )
                figures["test_accuracy_mc"] = classification_metrics(log_probabilities, test.labels).accuracy
    if setting.stops_early:
        best = next(epoch for epoch in reversed(epochs) if epoch.is_best)
        log_probabilities = predict(training.model, test, training.precision)
        figures = {
            "valid_accuracy": best.valid_accuracy,
            "test_accuracy": classification_metrics(log_probabilities, test.labels).accuracy,
        }
    flow = next((epoch.gradient_flow for epoch in reversed(epochs) if epoch.gradient_flow), ())
    verdict = judge(flow)
    return Run(epochs, figures, "" if verdict is None else verdict.label, started, time.time())


def prepare(setting: Setting) -> tuple[ImageData, LabeledImages]:
    """Returns the training and validation images of a setting, and its test images."""
    full, test = _read("train"), _read("test")
    if setting.split == "first":
        rows = np.arange(len(full.labels))
        train, valid = full.take(rows[FIRST:]), full.take(rows[:FIRST])
    else:
        train_rows, valid_rows = stratified_split(full.labels, RANDOM_FRACTION, seed=0)
        train, valid = full.take(train_rows), full.take(valid_rows)
    mean, scale = _scaling(train, setting.scaling)
    device = torch.device("cpu")
    parts = [to_device(part, mean, scale, device) for part in (train, valid, test)]
    return ImageData(parts[0], parts[1], train.class_names), parts[2]


def _read(part: str) -> Images:
    config = FashionMnist()
    images = read_fashion_mnist(config, part, data_folders(None))  # type: ignore[arg-type]
    assert images is not None
    return check(images, part)  # type: ignore[arg-type]


def _scaling(train: Images, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor]:
    if scaling == "unit":
        return torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 1 / 255)
    pixels = train.pixels.astype(np.float64)
    mean, deviation = pixels.mean(axis=0, keepdims=True), pixels.std(axis=0, keepdims=True)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(1.0 / deviation, dtype=torch.float32)
