"""Convolutional networks as files: every variant gives what the trained network gives, folded or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.export.errors import ExportError
from pipeline.export.formats.checking import TOLERANCE
from pipeline.export.network import build_network
from pipeline.export.reading import load_export
from pipeline.models.tensors import tensors_of
from tests.export.conftest import Trained

SMALL: dict[str, Any] = {"kind": "cnn", "stages": 2, "blocks": 1, "channels": 4}
# A network, how many of its batch normalizations a layer takes, and how many are left.
NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {
    "plain": ({}, 2, 0),
    "residual": ({"block": "residual", "pooling": "stride"}, 6, 0),
    "after": ({"batch_norm": "after", "activation": "silu", "pooling": "average", "global_pooling": "max"}, 0, 2),
    "even kernels": ({"kernel_size": 4, "global_pooling": "none", "input_batch_norm": True}, 2, 1),
    "alpha": ({"activation": "selu", "batch_norm": "none", "channel_dropout": 0.2}, 0, 0),
    "dropout": (
        {
            "channel_dropout": 0.2,
            "head": {
                "hidden_layers": 1,
                "width": 8,
                "batch_norm": "after",
                "dropout": {"kind": "dropout", "rate": 0.4, "last_layers": 2, "scaling": "test"},
            },
        },
        3,
        0,
    ),
}


@pytest.mark.parametrize(("model", "folded", "left"), NETWORKS.values(), ids=NETWORKS)
def test_every_file_gives_what_the_network_gives(
    model: dict[str, Any], folded: int, left: int, train_digits: Callable[..., Trained], tmp_path: Path
) -> None:
    trained = train_digits({**SMALL, **model})
    exported = trained.export(tmp_path / "model", fold_batch_norm=True)
    assert max(exported.differences.values()) < TOLERANCE
    note = f"batch normalizations folded into layers beside them: {folded}; left as they are, for none could take them"
    assert f"{note}: {left}" in exported.notes
    loaded = load_export(tmp_path / "model")
    images = trained.data.valid
    with torch.no_grad():
        expected = trained.model.eval()(images.slice(0, len(images))[0]).softmax(1)
    torch.testing.assert_close(loaded.probabilities(images.images), expected)
    if "channel_dropout" in model:
        _, deviation = loaded.sampled(images.images[:5], samples=3)
        assert deviation.max() > 0.0


def test_the_card_says_what_was_trained(train_digits: Callable[..., Trained], tmp_path: Path) -> None:
    train_digits({**SMALL, "block": "residual"}).export(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("# Image classifier: a convolutional network for digits\n")
    assert (
        "Convolutions: stages of 4 - 8 channels with 1 residual block each, kernels of 3 x 3, relu, batch "
        "normalization before the activation, max pooling. Head: a linear classifier." in card
    )


@pytest.mark.parametrize(
    "settings", [{"blocks": 10**9}, {"channels": 10**9}, {"channels": [10**9, 1]}, {"head": {"width": 10**12}}]
)
def test_a_description_of_any_size_is_not_built(settings: dict[str, Any], train_digits: Callable[..., Trained]) -> None:
    trained = train_digits(SMALL)
    if "head" in settings:
        settings = {"head": {**settings["head"], "hidden_layers": 2}}
    config = trained.config.replaced({f"model.{name}": value for name, value in settings.items()})
    with pytest.raises(ExportError, match=r"must be those of the network in the configuration \(cnn\)"):
        build_network(config, tensors_of(trained.model), image_shape=(1, 8, 8), channels=1, num_classes=10)
