"""What the tests of the networks share."""

from pathlib import Path

import huggingface_hub
import pytest
import torch
from torch import Tensor, nn

from tests.models.bodies import new_body


@pytest.fixture(autouse=True)
def _seeded_and_one_thread() -> None:
    """More threads are no help to networks as small as these, and wait for each other where the machine is busy."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def body(name: str) -> nn.Module:
    return new_body(name)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 32, 32)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that refuses connections and an empty local cache: nothing depends on this machine's."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "*")
