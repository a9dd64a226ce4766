"""What is compared: a configuration for each method, number of training images, and seed."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.data import FashionMnist
from pipeline.config.model import BackboneConfig
from pipeline.config.training import AdamW, EarlyStopping
from pipeline.config.transfer import Frozen, TransferConfig, Unfreeze
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.space.files import load_space
from pipeline.space.overrides import Override
from pipeline.workers.run import run_study

MLP = "mlp"
# From the method's key to how it is called.
METHODS = {
    "frozen": "EfficientNet-Lite0 frozen, linear head",
    "unfrozen": "its top stage unfrozen, at the head's rate",
    MLP: "best perceptron from scratch",
}
VALID_FRACTION = 0.02
# Perceptrons are searched on a split of their own: no seed that is measured was tuned on.
SEARCH_SEED = 1000
# One image passes through a perceptron in a small part of the time: it may see each more often.
MLP_EPOCHS_FACTOR = 4.5


@dataclass(frozen=True)
class Cell:
    """A run: a method (a key of `METHODS`), a number of training images, and a seed."""

    method: str
    size: int
    seed: int


def num_epochs(size: int) -> int:
    """Returns the epochs of a backbone's training: 160 to 628 steps of 64 images, for 500 to 10,000 images."""
    if size <= 1000:
        return 20
    return 10 if size <= 5000 else 4


def backbone_config(cell: Cell, *, epochs: int, image_size: int) -> TrialConfig:
    """Returns what trains a backbone.

    Nothing in it was chosen by a test accuracy. The training goes on to its last epoch, as the schedule pays there, and
    the epoch with the best validation accuracy is measured.
    """
    transfer: TransferConfig = Frozen()
    if cell.method != "frozen":
        transfer = Unfreeze(frozen_epochs=epochs // 4, unfreeze_top_stages=1, lr_factor=1.0)
    return TrialConfig(
        data=FashionMnist(valid_fraction=VALID_FRACTION, split_seed=cell.seed, max_train_images=cell.size),
        model=BackboneConfig(name="tf_efficientnet_lite0", image_size=image_size),
        transfer=transfer,
        optimizer=AdamW(lr=2e-3),
        batch_size=64,
        epochs=epochs,
        early_stopping=EarlyStopping(patience=None),
        seed=cell.seed,
    )


def best_mlp(size: int, *, trials: int, epochs: int, workspace: Path, workers: int) -> TrialConfig:
    """Finds the best perceptron for a number of training images; what a study has found already is taken from it."""
    settings = {
        "study.trials": trials,
        "data.max_train_images": size,
        "data.valid_fraction": VALID_FRACTION,
        "data.split_seed": SEARCH_SEED,
        "epochs": epochs,
    }
    overrides = [Override(path, str(value), path) for path, value in settings.items()]
    file = load_space(str(Path(__file__).parent / "mlp.yaml"), overrides)
    summary = run_study(
        file.space,
        file.study,
        name=f"transfer-mlp-{size}-{epochs}",
        workspace=Workspace(workspace),
        compute=Compute(workers, threads=1, device="cpu"),
    )
    if summary.interrupted or summary.best is None:
        raise SystemExit(f"the study {summary.study} was interrupted; the same command goes on with it")
    best = summary.best
    print(f"best perceptron for {size:,} images, {best.value:.4f} on validation: {best.params}", flush=True)
    return TrialConfig.model_validate(best.config)


def mlp_config(best: TrialConfig, cell: Cell) -> TrialConfig:
    """Returns what trains the best perceptron on a seed's images."""
    return best.replaced({"seed": cell.seed, "data.split_seed": cell.seed})
