"""Does ending a trial by the verdict on its first epoch lose good trials?

Networks are drawn at random from a space in which many are ill (3 to 40 layers without batch normalization, all kinds
of activations and initializations, gains from 0.5 to 4, SGD and AdamW) and trained to the end on 10,000 images of
Fashion-MNIST. Then it is counted what the rule would have ended, and how good that was at last.

    python -m benchmarks.verdict --trials 120
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence

import optuna
import torch

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.records.verdict import HOPELESS, judge
from pipeline.space.files import read_space
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import parse
from pipeline.training.loop import DivergedError
from pipeline.training.start import start

SPACE = """
space:
  data: {kind: fashion_mnist}
  model:
    hidden_layers: {int: [3, 40], log: true}
    width: {choice: [50, 100]}
    activation: {choice: [relu, leaky_relu, elu, selu, tanh, sigmoid]}
    initialization: {choice: [he, glorot, lecun]}
    initialization_gain: {float: [0.5, 4.0], log: true}
    batch_norm: none
  optimizer:
    choice:
      - {kind: sgd, lr: {float: [1e-3, 0.5], log: true}, momentum: 0.9}
      - {kind: adamw, lr: {float: [1e-4, 3e-2], log: true}}
  schedule: {choice: [constant, one_cycle]}
  batch_size: 64
  epochs: 8
  early_stopping: {patience: null}
"""


def run(config: TrialConfig, data: ImageData) -> tuple[str, str, float]:
    """Returns the verdict on the first epoch, the last one, and the best validation accuracy (0 if it diverged)."""
    every = StudyConfig().gradient_flow_steps
    first, last, best = "", "", 0.0
    try:
        for epoch in start(config, data, measure_every=every).epochs:
            verdict = judge(epoch.gradient_flow)
            assert verdict is not None
            first, last, best = first or verdict.label, verdict.label, max(best, epoch.valid_accuracy)
    except DivergedError as error:
        verdict = judge(error.gradient_flow, str(error))
        last = verdict.label if verdict is not None else "diverged"
        return first or f"{last}, diverged at once", last, 0.0
    return first, last, best


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=10_000, help="train on so many")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    overrides = [Override("data.max_train_images", str(options.images), "--images")]
    space = read_space(parse(SPACE, "the space"), "verdict", overrides).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=options.seed))
    configs = [space.sample(study.ask()) for _ in range(options.trials)]
    data = load_data(configs[0].data)
    outcomes = [run(config, data) for config in configs]
    by_verdict: dict[str, list[float]] = defaultdict(list)
    for first, _, best in outcomes:
        by_verdict[first].append(best)
    print(f"torch {torch.__version__}, {options.trials} networks; valid_accuracy by the first epoch's verdict:")
    for verdict, values in sorted(by_verdict.items(), key=lambda item: -max(item[1])):
        print(f"  {verdict:28} {len(values):4}: best {max(values):.4f}, median {statistics.median(values):.4f}")
    ranked = sorted(outcomes, key=lambda outcome: -outcome[2])
    for top in (10, options.trials // 4, options.trials // 2):
        lost = sum(first in HOPELESS for first, _, _ in ranked[:top])
        print(f"of the best {top}, by_verdict would have ended {lost}")
    ended = sum(first in HOPELESS for first, _, _ in outcomes)
    recovered = sum(first in HOPELESS and last == "healthy" for first, last, _ in outcomes)
    print(f"it would have ended {ended} of {options.trials}; {recovered} of them are healthy in their last epoch")


if __name__ == "__main__":
    main()
