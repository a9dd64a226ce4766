"""From a configuration to an export to a prediction, as a user types it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
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
    check_labelled(cli, tmp_path)
    again = cli(*train)
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
    assert "epoch" not in again.stderr  # said before anything is trained


def check_labelled(cli: Cli, folder: Path) -> None:
    """Folders named after classes are measured; what lies elsewhere is refused before anything is predicted."""
    digits = load_digits()
    for number in range(60):
        place = folder / "shown" / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(place / f"{number}.png")
    done = cli("predict", folder / "model", folder / "shown", "--labelled", "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert list(rows[0]) == ["file", "label", "probability", "true"]
    assert len(rows) == 60
    right = sum(row["label"] == row["true"] == Path(row["file"]).parent.name for row in rows)
    assert f"accuracy {right / 60:.4f} on 60 images (95 % interval" in done.stderr
    assert "precision" in done.stderr
    every = cli("predict", folder / "model", folder / "shown" / "0", "--csv", "--probabilities")
    first = next(csv.DictReader(every.stdout.splitlines()))
    assert list(first) == ["file", "label", "probability", *(f"probability_{digit}" for digit in range(10))]
    assert sum(float(first[f"probability_{digit}"]) for digit in range(10)) == pytest.approx(1.0)
    elsewhere = cli("predict", folder / "model", folder / "0.png", "--labelled")
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert "with --labelled an image's folder is named after its class. The classes are 0, 1, 2" in elsewhere.stderr
    assert cli("predict", folder / "model", folder / "0.png", "--csv", "--json").returncode == 2
