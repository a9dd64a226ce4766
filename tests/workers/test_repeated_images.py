"""Images that are in the training and in the validation set: a person is told before the first trial."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.data import Arrays
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.evaluation.train_and_test import train_and_test
from pipeline.finalize.run import FinalizeOptions, finalize
from pipeline.records.events import Event, Notice
from tests.workers.runs import run

COUNTS = "of each class 20 + 10 images to train + validate on"
TOLD = "warning: 5 of 20 validation images are training images, too"
TOLD_OF_TEST = "warning: 6 of 20 test images are training or validation images, too"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """40 images to train on, 20 to validate on, of which 5 are the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    pixels[40:45] = pixels[:5]
    labels = np.arange(60) % 2
    file = tmp_path / "images.npz"
    np.savez(file, x_train=pixels[:40], y_train=labels[:40], x_valid=pixels[40:], y_valid=labels[40:])
    return file


@pytest.fixture
def with_test(archive: Path) -> Path:
    """The same with 20 images to test on, of which 3 are among those to train on and 3 among those to validate on."""
    with np.load(archive) as file:
        parts = dict(file)
    test = np.random.default_rng(1).integers(0, 256, (20, 4, 4), dtype=np.uint8)
    test[:3], test[3:6] = parts["x_train"][10:13], parts["x_valid"][10:13]
    np.savez(archive, **parts, x_test=test, y_test=np.arange(20) % 2)
    return archive


class Listener:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def begin(self, study: str, **known: Any) -> None: ...

    def event(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)

    def tick(self) -> None: ...


def test_a_study_says_so_once(archive: Path, tmp_path: Path, workspace: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"study: {{trials: 2, seed: 0}}\nspace: {{data: {{kind: arrays, path: {archive}}}, epochs: 1,"
        " model: {width: {int: [4, 8]}}}"
    )
    listener = Listener()
    run(file, workspace, compute=Compute(workers=2, threads=1), observer=listener)
    assert [notice.startswith(TOLD) for notice in listener.notices] == [True]


def test_what_finalizes_says_so_of_the_test_images(with_test: Path, tmp_path: Path, workspace: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"study: {{trials: 1}}\nspace: {{data: {{kind: arrays, path: {with_test}}}, epochs: 1}}")
    run(file, workspace)
    told: list[str] = []
    finalize(
        "mine",
        workspace=Workspace(workspace),
        options=FinalizeOptions(top=1, num_seeds=2),
        compute=Compute(threads=1),
        notify=told.append,
    )
    assert [text.startswith(TOLD_OF_TEST) for text in told] == [False, True, False]


def test_a_training_says_so_of_the_test_images(with_test: Path) -> None:
    told: list[str] = []
    config = TrialConfig(data=Arrays(path=str(with_test)), epochs=1)
    assert train_and_test(config, compute=Compute(threads=1), notify=told.append).result
    assert all(text.startswith(start) for text, start in zip(told, (COUNTS, TOLD, TOLD_OF_TEST), strict=True))


def test_a_training_says_so(archive: Path) -> None:
    told: list[str] = []
    config = TrialConfig(data=Arrays(path=str(archive)), epochs=1)
    assert train_and_test(config, compute=Compute(threads=1), notify=told.append).result
    assert [text.startswith(TOLD) for text in told] == [False, True]
