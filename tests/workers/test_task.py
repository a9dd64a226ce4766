"""What a worker is told."""

import pickle
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.workspace import Workspace
from pipeline.study.cases import Cases
from pipeline.workers.task import Task, tasks_of


def test_a_task_repeats_nothing_of_where_and_on_what() -> None:
    names = {field.name for field in fields(Task)}
    assert names.isdisjoint(field.name for kind in (Workspace, Compute) for field in fields(kind))
    assert len(names) <= 11


def test_a_task_leads_to_the_same_files_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrialConfig.model_validate({"data": {"kind": "digits"}, "model": {"hidden_layers": 1, "width": 8}})
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    workspace, compute = Workspace(Path("runs"), data_dir="d"), Compute(2, 3, "cpu")
    first, second = tasks_of(Cases({"a": config}, 2), StudyConfig(), "s", workspace, compute)
    checkpoints, storage = workspace.checkpoints("s"), workspace.storage_url
    monkeypatch.chdir(there)
    for number, task in enumerate((first, second)):
        task = pickle.loads(pickle.dumps(task))
        assert (task.worker, task.threads, task.compute) == (number, 3, compute)
        assert task.workspace.checkpoints("s") == checkpoints
        assert (task.workspace.storage_url.reveal(), task.workspace.data_dir) == (storage.reveal(), "d")
