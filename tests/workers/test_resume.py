"""A trial whose worker is killed ends with the numbers that it would have had."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.records.events import EpochEnded, Event, TrialStarted
from pipeline.records.results import DataSummary
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse
from pipeline.workers.run import run_study

SPACE = """
study: {trials: 1, pruner: none, metrics: valid_loss}
space:
  data: {kind: digits}
  model: {hidden_layers: 3, width: 384, batch_norm: before, dropout: {kind: dropout, rate: 0.2}}
  optimizer: {kind: adamw, lr: {float: [1e-3, 1e-2], log: true}}
  schedule: {kind: performance, patience: 2}
  augment: {mixup: 0.2}
  ema_decay: 0.99
  batch_size: 16
  epochs: 10
  early_stopping: {patience: null}
"""


class Killer:
    """Keeps what is told of each attempt, and kills the worker after some epoch of the first one."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch
        self.started: list[TrialStarted] = []
        self.epochs: dict[int, list[dict[str, Any]]] = {}
        self.resumed_after = 0

    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None: ...

    def tick(self) -> None: ...

    def event(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self.started.append(event)
        elif isinstance(event, EpochEnded):
            # what no two runs have in common is left out
            measured = {**event.result.to_json(), "seconds": 0.0, "samples_per_second": 0.0, "ended": 0.0}
            self.epochs.setdefault(event.number, []).append(measured)
            self.resumed_after += event.result.ended < self.started[-1].started
            if event.result.epoch == self.epoch:
                self.epoch = None
                running = multiprocessing.active_children()  # the process that writes MLflow is one, too
                (worker,) = [process for process in running if process.name.startswith("dnntune-worker-")]
                os.kill(worker.pid or 0, signal.SIGKILL)


def run(folder: Path, epoch: int | None) -> Killer:
    file, observer = read_space(parse(SPACE, "f.yaml"), "f"), Killer(epoch)
    summary = run_study(
        file.space,
        file.study,
        name="f",
        workspace=Workspace(folder),
        compute=Compute(threads=1, device="cpu"),
        observer=observer,
    )
    assert summary.trials["complete"] == 1
    return observer


@pytest.mark.timeout(600)
def test_a_trial_killed_at_epoch_6_of_10_ends_as_one_that_was_not(tmp_path: Path, workspace: Path) -> None:
    killed, whole = run(workspace, epoch=6), run(tmp_path / "whole", epoch=None)
    first, retry = killed.started
    assert (retry.retry, retry.retry_of) == (1, first.number)
    assert 1 <= killed.resumed_after < 10
    assert [epoch["epoch"] for epoch in killed.epochs[retry.number]] == list(range(1, 11))
    assert killed.epochs[retry.number] == whole.epochs[0]
