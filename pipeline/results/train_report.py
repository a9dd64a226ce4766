"""One configuration, trained and measured: what `dnntune train` does."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from pipeline.config import TrialConfig
from pipeline.data import load_data, load_test
from pipeline.errors import DnntuneError
from pipeline.models import num_parameters
from pipeline.records import EpochResult
from pipeline.training import start
from pipeline.training.device import choose_device
from pipeline.training.loop import DivergedError

# Standard normal quantile of a 95 % interval.
Z95 = 1.959964


def train_and_test(
    config: TrialConfig,
    *,
    data_dir: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    show: Callable[[EpochResult], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Trains a configuration, and measures the best epoch's model on the test part once.

    Args:
        config: What to train.
        data_dir: Folder in which data sets are looked for first.
        device: auto, cpu, cuda or cuda:N.
        threads: Threads to compute with; None for PyTorch's choice.
        show: Is given every epoch.

    Returns:
        best_valid_accuracy, best_valid_loss, best_epoch, epochs, test_accuracy, test_accuracy_interval and test_loss
        (None where the data have no test part), samples_per_second (median over the epochs, training alone),
        num_parameters, seconds.

    Raises:
        DnntuneError: The data or the device cannot be used, or the training diverges.
    """
    started = time.monotonic()
    if threads is not None:
        torch.set_num_threads(threads)
    place = choose_device(device)
    data = load_data(config.data, data_dir=data_dir, device=place)
    training = start(config, data)
    epochs: list[EpochResult] = []
    try:
        for epoch in training.epochs:
            epochs.append(epoch)
            show(epoch)
    except DivergedError as error:
        raise DnntuneError(
            f"training diverged: {error}. Lower optimizer.lr, or clip the gradient (clip: norm)"
        ) from None
    best = next(epoch for epoch in reversed(epochs) if epoch.is_best)
    test = load_test(config.data, data, data_dir=data_dir, device=place)
    loss, accuracy = (None, None) if test is None else training.evaluate(test)
    return {
        "best_valid_accuracy": best.valid_accuracy,
        "best_valid_loss": best.valid_loss,
        "best_epoch": best.epoch,
        "epochs": len(epochs),
        "test_accuracy": accuracy,
        "test_accuracy_interval": None if accuracy is None or test is None else wilson_interval(accuracy, len(test)),
        "test_loss": loss,
        "samples_per_second": statistics.median(epoch.samples_per_second for epoch in epochs),
        "num_parameters": num_parameters(training.model),
        "seconds": time.monotonic() - started,
    }


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a proportion: Wilson, 1927.

    Args:
        share: The observed proportion.
        count: Number of observations.
    """
    center = share + Z95**2 / (2 * count)
    spread = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    scale = 1 + Z95**2 / count
    return (center - spread) / scale, (center + spread) / scale
