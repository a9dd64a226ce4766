"""What the tests share: small data made on the spot, and a clean environment."""

from pathlib import Path

import pytest

from pipeline.data.idx import DEBIAN_FASHION_MNIST


@pytest.fixture(autouse=True)
def _no_data_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps a test from finding data, or a cache, that this machine happens to have."""
    monkeypatch.delenv("DNNTUNE_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def fashion_mnist() -> Path:
    """The folder of the real Fashion-MNIST."""
    if not DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("needs the real Fashion-MNIST: apt-get install dataset-fashion-mnist")
    return DEBIAN_FASHION_MNIST
