"""A disk that is full ends a study with what to do about it, and it goes on from there when there is space again."""

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from pipeline.core.errors import DiskFullError
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.records.events import Event, WorkerFailed
from pipeline.storage.open import open_storage, study_names
from pipeline.tracking.store import open_client
from pipeline.workers import worker
from tests.workers.runs import run, start, trials_of

SPACE = """
study: {name: small, trials: 3}
space: {data: {kind: digits, max_train_images: 200}, epochs: 2, model: {width: {int: [20, 120]}, hidden_layers: 2}}
"""
MEGABYTES = 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system in memory")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path, left: int) -> Path:
    """Fills a disk up to so many bytes."""
    filler = folder / "filler"
    disk = os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_bsize - left)
    return filler


# What there is room for: nothing, the study's storage but not MLflow's, both but few trials.
@pytest.mark.slow
@pytest.mark.parametrize("left", [16 * 2**10, 900 * 2**10, 1500 * 2**10])
def test_it_is_said_and_the_study_goes_on_later(left: int, small_disk: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SPACE)
    filler = _fill(small_disk, left)
    process = start(file, small_disk / "runs", "study.trials=40")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert "Traceback" not in err
    said = err.splitlines()[-1]
    assert said.startswith(f"dnntune: {small_disk}/runs"), err
    assert re.search(rf"no space is left on its file system, {small_disk} \(0\.\d MiB of 8\.0 MiB free\)", said)
    assert said.endswith("give the same command again: a study goes on where it stopped")
    assert not list(small_disk.rglob("*.partial"))
    filler.unlink()
    known = study_names(open_storage(Workspace(small_disk / "runs").storage_url))
    before = [trial for trial in (trials_of(small_disk / "runs") if known else []) if trial.state.is_finished()]
    summary = run(file, small_disk / "runs", f"study.trials={len(before) + 1}")
    assert summary.num_left == 0
    after = trials_of(small_disk / "runs")
    assert [trial.value for trial in after[: len(before)]] == [trial.value for trial in before]


def test_a_worker_tells_its_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    told: list[Event] = []
    monkeypatch.setattr(worker, "_work", no_space)
    task: Any = SimpleNamespace(workspace=Workspace(tmp_path), study_name="small")
    channel: Any = SimpleNamespace(emit=told.append)
    worker.work(task, channel)
    (event,) = told
    assert isinstance(event, WorkerFailed)
    assert event.message.startswith(f"{tmp_path}/checkpoints/small: no space is left on its file system")


def test_every_operation_of_a_storage_says_so(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}")
    study = optuna.create_study(storage=storage)
    with storage.engine.connect() as connection:  # as if the disk were full: the one connection that SQLite's pool has
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def write() -> None:
        for number in range(1000):
            study.set_user_attr(f"key {number}", "x" * 2000)

    with pytest.raises(DiskFullError, match=r"studies.db: no space is left on its file system"):
        write()
    assert optuna.load_study(study_name=study.study_name, storage=storage).user_attrs["key 0"]


@pytest.mark.parametrize("is_new", [True, False])
def test_half_of_mlflows_tables_are_not_left(is_new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlflow.db"
    if not is_new:
        file.write_bytes(b"old")

    def no_space(**_: object) -> None:
        with file.open("ab") as database:
            database.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mlflow.MlflowClient", no_space)
    with pytest.raises(DiskFullError, match=rf"{file}: no space is left on its file system"):
        open_client(StoreUrl(f"sqlite:///{file}"))
    assert file.exists() is not is_new
