"""A plug-in of under 40 lines from its first check to a prediction, by the commands of docs/plugins.md."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.plugins.loading import loaded_plugins, unload

if TYPE_CHECKING:
    from subprocess import CompletedProcess

Cli = Callable[..., "CompletedProcess[str]"]
PLUGIN = ("--plugin", str(Path(__file__).with_name("small_conv.py")))
SPACE = """study: {trials: 2, pruner: none, seed: 1, metrics: [valid_accuracy, valid_specificity]}
space:
  data: {kind: digits, max_train_images: 400}
  model: {kind: small_conv, filters: {int: [4, 8]}, kernel: {choice: [3, 5]}}
  loss: {kind: own_focal, gamma: {float: [0, 3]}}
  epochs: 2
"""


def _forget() -> None:
    for plugin in loaded_plugins():
        unload(plugin)


@pytest.mark.slow
def test_run_check_finalize_export_and_predict(cli: Cli, tmp_path: Path) -> None:
    space, image, export = tmp_path / "mine.yaml", tmp_path / "one.png", tmp_path / "model"
    where = ("--workspace", tmp_path / "runs")
    space.write_text(SPACE.replace("kernel: {choice: [3, 5]}", "kernel: {choice: [3, 4]}"))
    mistaken = cli("check", space, *PLUGIN)
    assert mistaken.returncode == 2
    assert mistaken.stderr.endswith("mine.yaml:4: model.kernel: must be one of 3, 5; got 4\n")
    space.write_text(SPACE)
    assert cli("check", space, *PLUGIN).returncode == 0
    _forget()
    assert "If a plug-in adds it, give that with --plugin" in cli("check", space).stderr

    ran = cli("run", space, *PLUGIN, *where, "--threads", 1, "--device", "cpu", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["trials"]["complete"] == 2
    _forget()
    for command in ("resume", "worker", "finalize", "leaderboard"):
        refused = cli(command, "mine", *where)
        assert refused.returncode == 2
        assert refused.stderr.startswith("dnntune: study mine needs the plug-in small_conv.py (SHA-256 ")

    done = cli("finalize", "mine", *PLUGIN, *where, "--top", 1, "--seeds", 1, "--threads", 1, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    done = cli("export", "mine", *PLUGIN, *where, "--out", export, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    _forget()
    Image.fromarray(np.eye(8, dtype=np.uint8) * 16).save(image)
    predicted = cli("predict", export, image, "--json")
    assert predicted.returncode == 0, predicted.stderr
    assert 0.0 < json.loads(predicted.stdout)["probability"] <= 1.0
    assert "Monte Carlo dropout needs the network itself" in cli("predict", export, image, "--mc-samples", 2).stderr
    assert loaded_plugins() == ()
