"""Both graphs agree with the network, whatever it is made of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.model import BackboneConfig
from pipeline.config.trial import TrialConfig
from pipeline.export.errors import ExportError
from pipeline.export.network import build_network
from pipeline.export.reading import load_export
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.backbones.backbone import build_backbone
from tests.export.conftest import Trained

BACKBONE = {"kind": "backbone", "name": "test_resnet", "pretrained": False, "image_size": 32}
# Activation, batch normalization, dropout, and whether it is folded.
CASES = [
    *((activation, norm, "train", True) for activation in ACTIVATIONS for norm in ("none", "before", "after")),
    *(("relu", norm, dropout, False) for norm in ("none", "before", "after") for dropout in ("none", "test")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "batch_norm", "dropout", "folds"), CASES)
def test_every_perceptron(
    activation: str,
    batch_norm: str,
    dropout: str,
    folds: bool,
    train_digits: Callable[..., Trained],
    tmp_path: Path,
) -> None:
    block = {"kind": "none"} if dropout == "none" else {"kind": "dropout", "rate": 0.3, "scaling": dropout}
    model = {"hidden_layers": 2, "width": 8, "activation": activation, "batch_norm": batch_norm, "dropout": block}
    exported = train_digits(model).export(tmp_path / "model", fold_batch_norm=folds)
    assert max(exported.differences.values()) < 1e-5
    wanted = 0 if batch_norm == "none" else 2
    assert not folds or f"beside them: {wanted}; left as they are, for none could take them: 0" in exported.notes[0]


def test_a_backbone_with_its_resizing(train_digits: Callable[..., Trained], tmp_path: Path) -> None:
    exported = train_digits(BACKBONE).export(tmp_path / "model", fold_batch_norm=True)
    assert max(exported.differences.values()) < 1e-5
    assert ": 0; left" not in exported.notes[0]
    assert "from random weights; transfer: none; its head: a linear classifier." in (
        (tmp_path / "model" / "README.md").read_text()
    )


def test_floats_go_in_as_floats(train_digits: Callable[..., Trained], tmp_path: Path) -> None:
    plain = train_digits({"hidden_layers": 1, "width": 8, "activation": "relu"})
    valid = replace(plain.data.valid, images=plain.data.valid.images.float())
    exported = plain.export(tmp_path / "model", images=valid)
    assert max(exported.differences.values()) < 1e-5
    loaded = load_export(tmp_path / "model")
    assert loaded.dtype == torch.float32
    assert loaded.probabilities(valid.images).shape == (len(valid), 10)


@pytest.mark.parametrize("change", [{"drop_top_stages": 1}, {"head": {"hidden_layers": 2, "width": [8, 8]}}])
def test_a_network_that_the_ladder_has_changed_is_found(change: dict[str, Any]) -> None:
    head = {"hidden_layers": 1, "width": [8]}
    plain = {"data": {"kind": "digits"}, "transfer": {"kind": "auto"}}
    config = TrialConfig.model_validate({**plain, "model": {**BACKBONE, "pretrained": True, "head": head}})
    changed = TrialConfig.model_validate({**plain, "model": {**config.to_dict()["model"], **change}})
    assert isinstance(changed.model, BackboneConfig)
    untrained = changed.model.model_copy(update={"pretrained": False})
    network = build_backbone(untrained, channels=3, num_classes=10, device=torch.device("cpu"))
    arguments: dict[str, Any] = {"image_shape": (1, 8, 8), "channels": 3, "num_classes": 10}
    found = build_network(config, network.state_dict(), **arguments)
    assert found.model == changed.model
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.module.state_dict().items())
    with pytest.raises(ExportError, match="the weights must be those of the network"):
        build_network(config.replaced({"transfer": {"kind": "frozen"}}), network.state_dict(), **arguments)
