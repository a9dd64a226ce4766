"""From a configuration to an export to a prediction, as a user types it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tests.conftest import Cli

CONFIG = """
space:
  data: {kind: digits}
  model: {hidden_layers: 1, width: 32}
  optimizer: {kind: adamw, lr: 0.005}
  epochs: 5
"""


def test_what_is_trained_is_exported_and_predicts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    train = ("train", tmp_path / "config.yaml", "--workspace", tmp_path, "--threads", 1, "--export", tmp_path / "model")
    trained = cli(*train, "--json")
    assert trained.returncode == 0, trained.stderr
    figures = json.loads(trained.stdout.splitlines()[-1])
    assert set(figures["export"]["differences"]) == {"model.safetensors", "model.pt2", "model.onnx"}
    assert max(figures["export"]["differences"].values()) < 1e-4
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["test_accuracy"] == figures["test_accuracy"]
    digits = load_digits()
    for number in range(10):
        pixels = (digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{digits.target[number]}.png")
    predicted = cli("predict", tmp_path / "model", *sorted(tmp_path.glob("*.png")), "--json")
    assert predicted.returncode == 0, predicted.stderr
    found = [json.loads(line) for line in predicted.stdout.splitlines()]
    assert [Path(each["file"]).stem for each in found] == [str(digit) for digit in range(10)]
    assert sum(each["label"] == Path(each["file"]).stem for each in found) >= 8
    again = cli(*train)
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
    assert "epoch" not in again.stderr  # said before anything is trained
