"""auto and init: from data to a model, with one command."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.auto import _seconds
from pipeline.core.errors import DnntuneError
from pipeline.space.files import load_space
from tests.conftest import Cli

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400)])
def test_times(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 minutes", "-5m", "10s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(DnntuneError, match="--time must be"):
        _seconds(text)


def test_init_writes_a_space_that_says_why_and_never_replaces_one(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "plan.yaml"
    done = cli("init", "digits", "--time", "2m", "--out", out, "--workspace", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert text.startswith(
        "# data: 1,438 images of 10 classes, from 139 (8) to 146 each; 8 x 8 pixels, gray\n# network:"
    )
    assert load_space(str(out)).study.timeout == 72
    again = cli("init", "digits", "--out", out, "--workspace", tmp_path / "runs")
    assert (again.returncode, out.read_text()) == (2, text)
    assert "exists already. Name another file with --out" in again.stderr


def test_data_that_are_not_there_cost_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", tmp_path / "nothing", "--out", tmp_path / "plan.yaml")
    assert done.returncode == 2
    assert "no such file or folder" in done.stderr
    assert not (tmp_path / "plan.yaml").exists()


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "auto", "digits", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_auto_ends_with_a_model_that_predicts(tmp_path: Path, cli: Cli) -> None:
    out, err = start(tmp_path, "--time", "1m").communicate(timeout=250)
    assert "expected accuracy on new images: 0.9" in out, err
    assert "(on 359 test images)" in out
    assert (tmp_path / "runs" / "reports" / "digits.html").exists()
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    done = cli("predict", tmp_path / "runs" / "exports" / "digits", tmp_path / "image.png")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_the_best_model_so_far(tmp_path: Path) -> None:
    process = start(tmp_path, "--time", "10m")
    assert process.stderr is not None
    for line in process.stderr:
        if "t000" in line:
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted: this is the best trial's model" in out
    assert (tmp_path / "runs" / "exports" / "digits" / "model.onnx").exists()
