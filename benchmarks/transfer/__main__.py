"""Does transfer pay with few images? Test accuracy on Fashion-MNIST, over seeds; a table, and docs/transfer.png.

Compared are a pretrained EfficientNet-Lite0, frozen under a linear head; the same with its top stage unfrozen; and the
best perceptron from scratch, which a study of 30 trials finds for each number of images on a split of its own. A seed
decides the initial weights and which images are trained on.

Results are kept as lines of JSON in the workspace: what is there is not trained again, so that it can be stopped and
resumed.

    python -m benchmarks.transfer --workspace runs --seeds 3 --processes 2 --docs
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.transfer.methods import (
    METHODS,
    MLP,
    MLP_EPOCHS_FACTOR,
    Cell,
    backbone_config,
    best_mlp,
    mlp_config,
    num_epochs,
)
from benchmarks.transfer.report import draw, table
from benchmarks.transfer.runs import fingerprint, finished, run_missing
from pipeline.config.trial import TrialConfig
from pipeline.core.workspace import Workspace

FILE = "transfer.jsonl"


def wanted(options: argparse.Namespace) -> dict[Cell, TrialConfig]:
    """Returns a configuration for each cell, after the studies that find the perceptrons; few images come first."""
    configs: dict[Cell, TrialConfig] = {}
    for size in options.sizes:
        epochs = options.epochs or num_epochs(size)
        best = best_mlp(
            size,
            trials=options.mlp_trials,
            epochs=round(MLP_EPOCHS_FACTOR * epochs),
            workspace=options.workspace,
            workers=options.processes,
        )
        # Methods that share features stand apart, so that processes seldom wait for each other.
        for method in METHODS:
            for seed in range(options.seeds):
                cell = Cell(method, size, seed)
                configs[cell] = (
                    mlp_config(best, cell)
                    if method == MLP
                    else backbone_config(cell, epochs=epochs, image_size=options.image_size)
                )
    return configs


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing, prints the table, and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 10_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of a backbone; as many by number of images, if not given")
    parser.add_argument("--mlp-trials", type=int, default=30)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--docs", action="store_true", help="draw docs/transfer.png")
    options = parser.parse_args(arguments)
    options.workspace.mkdir(parents=True, exist_ok=True)
    file = options.workspace / FILE
    configs = wanted(options)
    run_missing(configs, file, cache=Workspace(options.workspace).feature_cache, processes=options.processes)
    there = finished(file)
    accuracies: dict[tuple[str, int], list[float]] = {}
    for cell, config in configs.items():
        accuracies.setdefault((cell.method, cell.size), []).append(there[fingerprint(config)]["test_accuracy"])
    print("\n" + "\n".join(table(accuracies, sizes=options.sizes, num_seeds=options.seeds)))
    if options.docs:
        draw(accuracies, sizes=options.sizes, num_seeds=options.seeds, image_size=options.image_size)


if __name__ == "__main__":
    main()
