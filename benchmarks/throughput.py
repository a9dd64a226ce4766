"""Training images a second: dnntune's trainer beside the usual way and beside a loop without any data path.

The same network (784-100-100-100-10, batch normalization before ReLU, AdamW, clipping by norm, batch 128, one thread,
real Fashion-MNIST), trained in alternation by

- dnntune: this project's trainer, statistics of every epoch included;
- usual: torchvision's data set with v2 transforms in a DataLoader, and a plain loop;
- resident: the trainer's own loop on one batch that is standardized already, again and again: no data path at all.

Ratios are taken pair by pair, since these machines are shared.

    python -m benchmarks.throughput --pairs 7
"""

import argparse
import dataclasses
import gzip
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from pipeline.config.data import FashionMnist
from pipeline.config.model import MlpConfig
from pipeline.config.training import AdamW, ClipNorm, Constant, EarlyStopping
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import load_data
from pipeline.data.sources.user_data import DEBIAN_FASHION_MNIST
from pipeline.training.start import start

BATCH_SIZE = 128
CONFIG = TrialConfig(
    data=FashionMnist(),
    model=MlpConfig(hidden_layers=3, width=100, activation="relu", batch_norm="before"),
    optimizer=AdamW(lr=1e-3),
    schedule=Constant(),
    clip=ClipNorm(threshold=1.0),
    batch_size=BATCH_SIZE,
    epochs=2,
    early_stopping=EarlyStopping(patience=None),
)


class _OneBatch(LabeledImages):
    """A data set as long as its labels, of which every batch is the first one, standardized already."""

    def batch(self, rows: Tensor, _change: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Returns the first rows, whichever are asked for."""
        return self.images[: len(rows)], self.labels[: len(rows)]


def dnntune(data: ImageData) -> float:
    """Returns images a second of the second epoch."""
    return [epoch.samples_per_second for epoch in start(CONFIG, data).epochs][-1]


def resident(data: ImageData) -> float:
    """Returns images a second of the second epoch, without a data path."""
    images, _ = data.train.slice(0, BATCH_SIZE)
    train = _OneBatch(images, data.train.labels, data.train.mean, data.train.scale)
    return dnntune(dataclasses.replace(data, train=train))


def usual(folder: Path, num_batches: int) -> float:
    """Returns images a second of the usual way, over so many batches after a warm-up."""
    transform = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=[0.286], std=[0.353])]
    )
    data = datasets.FashionMNIST(str(folder), train=True, transform=transform)
    loader = DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, num_workers=0)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (784, 100, 100):
        layers += [nn.Linear(inputs, 100, bias=False), nn.BatchNorm1d(100), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(100, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    started, count = 0.0, 0
    for number, (images, labels) in enumerate(loader):
        if number == 3:
            started = time.perf_counter()
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if number >= 3:
            count += len(labels)
        if number == num_batches + 3:
            break
    return count / (time.perf_counter() - started)


def torchvision_layout(folder: Path) -> None:
    """Unpacks Debian's files to where torchvision's reader looks for them."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", type=int, help="train dnntune and the resident batch on so many images only")
    options = parser.parse_args(arguments)
    pairs = options.pairs
    torch.set_num_threads(1)
    data = load_data(CONFIG.data.model_copy(update={"max_train_images": options.images}))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torchvision_layout(folder)
        ways: dict[str, Callable[[], float]] = {
            "dnntune": lambda: dnntune(data),
            "usual": lambda: usual(folder, num_batches=100),
            "resident": lambda: resident(data),
        }
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(pairs):
            for way, measure in ways.items():
                speeds[way].append(measure())
    print(f"torch {torch.__version__}, one thread, {pairs} pairs; images a second, median (min to max):")
    for way, values in speeds.items():
        print(f"  {way:9} {statistics.median(values):9,.0f} ({min(values):,.0f} to {max(values):,.0f})")
    _print_ratio("dnntune / usual", speeds["dnntune"], speeds["usual"])
    _print_ratio("resident / dnntune", speeds["resident"], speeds["dnntune"])


def _print_ratio(label: str, above: list[float], below: list[float]) -> None:
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    print(f"{label}: median {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
