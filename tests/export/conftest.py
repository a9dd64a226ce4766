"""What the tests of exports share: a small trained network, and its export."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.export.writing import Exported, export_model
from pipeline.training.start import start

METRICS = {"valid_accuracy": 0.75, "test": {"accuracy": 0.5}}


class Trained(NamedTuple):
    config: TrialConfig
    data: ImageData
    model: nn.Module

    def export(self, folder: Path, **more: Any) -> Exported:
        arguments: dict[str, Any] = {
            "config": self.config,
            "images": self.data.valid,
            "class_names": self.data.class_names,
            "image_shape": self.data.image_shape,
            "metrics": METRICS,
            "folder": folder,
        }
        return export_model(**{"model": self.model, **arguments, **more})


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def train_digits() -> Callable[..., Trained]:
    """Trains a network on the digits for an epoch."""

    def train_digits(model: dict[str, Any], **settings: Any) -> Trained:
        plain = {"data": {"kind": "digits", "max_train_images": 200}, "model": model, "epochs": 1, "batch_size": 32}
        config = TrialConfig.model_validate({**plain, **settings})
        data = load_data(config.data)
        training = start(config, data)
        for _ in training.epochs:
            pass
        return Trained(config, data, training.model)

    return train_digits


@pytest.fixture(scope="session")
def trained(train_digits: Callable[..., Trained]) -> Trained:
    """A perceptron with all that has to be folded: the input's normalization, and each layer's."""
    dropout = {"kind": "dropout", "rate": 0.3, "last_layers": 2, "input_rate": 0.1, "scaling": "test"}
    model = {
        "hidden_layers": 2,
        "width": 16,
        "activation": "elu",
        "batch_norm": "after",
        "input_batch_norm": True,
        "dropout": dropout,
    }
    return train_digits(model)


@pytest.fixture(scope="session")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return trained.export(tmp_path_factory.mktemp("exported") / "model", fold_batch_norm=True)
