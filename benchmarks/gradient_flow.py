"""What measuring gradient flow costs, as a ratio of training times with and without it.

Real Fashion-MNIST, one thread. Two ways: steps of one training, every second one measured, their medians compared
(exact, since the machine's noise is in both); and whole epochs with and without, in alternation (noisy). The small
network is the README's; the deep one has 20 layers; the small batch makes measured steps dear beside the others.

    python -m benchmarks.gradient_flow --pairs 9
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence

import torch

from pipeline.config.data import FashionMnist
from pipeline.config.model import MlpConfig
from pipeline.config.study import StudyConfig
from pipeline.config.training import AdamW, ClipNorm, Constant, EarlyStopping
from pipeline.config.trial import TrialConfig
from pipeline.data.batches import epoch_batches
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.training.start import start

EVERY = StudyConfig().gradient_flow_steps or 0


def config(hidden_layers: int, batch_size: int) -> TrialConfig:
    """Returns one of the networks that are measured."""
    return TrialConfig(
        data=FashionMnist(),
        model=MlpConfig(hidden_layers=hidden_layers, width=100, activation="relu", batch_norm="before"),
        optimizer=AdamW(lr=1e-3),
        schedule=Constant(),
        clip=ClipNorm(threshold=1.0),
        batch_size=batch_size,
        epochs=2,
        early_stopping=EarlyStopping(patience=None),
    )


CASES = {
    "3 x 100, batch 128": config(3, 128),
    "3 x 100, batch 16": config(3, 16),
    "20 x 100, batch 128": config(20, 128),
}


def seconds(trial: TrialConfig, data: ImageData, every: int | None) -> float:
    """Returns the time of the second epoch's training."""
    return [epoch.seconds for epoch in start(trial, data, measure_every=every).epochs][-1]


def ratio_by_steps(trial: TrialConfig, data: ImageData, num_steps: int) -> tuple[float, float]:
    """Returns the ratio of training times, and the time of a measured step over that of another one."""
    training = start(trial, data, measure_every=2)
    training.model.train()
    times: list[float] = []
    batches = itertools.chain.from_iterable(epoch_batches(data.train, trial.batch_size, seed=0))
    for rows in itertools.islice(batches, num_steps):
        started = time.perf_counter()
        training.step(rows)
        times.append(time.perf_counter() - started)
    warm = num_steps // 16 * 2
    measured, plain = statistics.median(times[warm::2]), statistics.median(times[warm + 1 :: 2])
    return 1.0 + (measured - plain) / plain / EVERY, measured / plain


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=800, help="of a run that is measured by steps")
    parser.add_argument("--images", type=int, help="train on so many images only")
    options = parser.parse_args(arguments)
    pairs = options.pairs
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, a step in {EVERY} measured; time with over time without")
    for name, trial in CASES.items():
        data = load_data(trial.data.model_copy(update={"max_train_images": options.images}))
        by_steps = [ratio_by_steps(trial, data, options.steps) for _ in range(pairs)]
        (low, _), (high, _) = min(by_steps), max(by_steps)
        ratio, step = statistics.median(r for r, _ in by_steps), statistics.median(s for _, s in by_steps)
        print(f"  {name}: by steps, {pairs} runs: median {ratio:.4f} (min {low:.4f}, max {high:.4f})", end="; ")
        print(f"a measured step takes {step:.2f} times another one's time")
        ratios = [seconds(trial, data, EVERY) / seconds(trial, data, None) for _ in range(pairs)]
        low, high = min(ratios), max(ratios)
        whole = f"median {statistics.median(ratios):.3f} (min {low:.3f}, max {high:.3f})"
        print(f"  {name}: by epochs, {pairs} pairs: {whole}", flush=True)


if __name__ == "__main__":
    main()
