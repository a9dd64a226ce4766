"""Macro F1 where one class is rare: natural and balanced sampling, class weights, and the focal loss.

Fashion-MNIST, of whose class 6 (shirt) only 2 % of the training images are left; validation and test images are all
there. One perceptron, the same for all; early stopping by macro F1; each way with the same seeds, so that differences
are paired.

    python -m benchmarks.imbalance --seeds 3
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data, load_test
from pipeline.evaluation.metrics import class_results, confusion_matrix
from pipeline.training.evaluation import predict
from pipeline.training.metrics import metric_of
from pipeline.training.start import start

RARE, SHARE = 6, 0.02
BASE: dict[str, Any] = {
    "model": {"hidden_layers": 2, "width": 100},
    "early_stopping": {"monitor": "valid_macro_f1", "patience": None},
}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "natural": ("natural", {}),
    "balanced sampling": ("balanced", {}),
    "class weights": ("natural", {"class_weights": "balanced"}),
    "focal loss": ("natural", {"kind": "focal"}),
}


def with_rare_class(data: ImageData) -> ImageData:
    """Returns the data with 2 % of the training images of one class."""
    train, labels = data.train, data.train.labels
    rows = torch.nonzero(labels == RARE).squeeze(1)
    left_out = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[round(SHARE * len(rows)) :]]
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[left_out] = False
    return replace(data, train=replace(train, images=train.images[kept], labels=labels[kept], rows=None))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints each way's test figures, and the differences to natural sampling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, help="take so many training images only, before any is left out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    source = {"kind": "fashion_mnist", "max_train_images": options.images}
    config = TrialConfig.model_validate({**BASE, "data": source, "epochs": options.epochs})
    whole = load_data(config.data)
    data, test = with_rare_class(whole), load_test(config.data, whole)
    assert test is not None
    macro_f1, started = metric_of("valid_macro_f1", data.class_names), time.process_time()
    f1: dict[str, list[float]] = {way: [] for way in WAYS}
    recall: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(options.seeds):
        for way, (sampling, loss) in WAYS.items():
            training = start(config.replaced({"seed": seed, "data.sampling": sampling, "loss": loss}), data)
            list(training.epochs)
            log_probabilities = predict(training.model, training.prepared(test), training.precision)
            confusion = confusion_matrix(log_probabilities.argmax(1), test.labels, data.num_classes)
            f1[way].append(macro_f1(log_probabilities.exp(), test.labels))
            recall[way].append(class_results(confusion, data.class_names)[RARE].recall or 0.0)
    print(f"torch {torch.__version__}, {options.seeds} seeds, {time.process_time() - started:.0f} processor seconds;")
    print(f"{int((data.train.labels == RARE).sum())} of {len(data.train):,} training images are of class {RARE}")
    print("| way | macro F1 | less natural's, by seed | recall of the rare class |\n| --- | --- | --- | --- |")
    for way, values in f1.items():
        differences = [value - natural for value, natural in zip(values, f1["natural"], strict=True)]
        spread = "" if way == "natural" else f"{statistics.fmean(differences):+.4f} ({_ends(differences, '+.4f')})"
        rare = f"{statistics.fmean(recall[way]):.3f} ({_ends(recall[way], '.3f')})"
        print(f"| {way} | {statistics.fmean(values):.4f} ({_ends(values, '.4f')}) | {spread} | {rare} |")


def _ends(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


if __name__ == "__main__":
    main()
