"""Files of checkpoints: one is whole or not there, whatever happens, and saving does not slow a training down."""

import io
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.core.filesystem.folders import MARK
from pipeline.records.results import EpochResult, LayerFlow
from pipeline.training import checkpoint as module
from pipeline.training.checkpoint import Checkpoint, CheckpointWriter, load_checkpoint, save_checkpoint

CONFIG = {"batch_size": 32, "model": {"width": [16, 16]}}
FLOW = LayerFlow(1, "layers.0", 0.1, 0.2, 1e-3, 0.0, 1.0, dead=0.25)
EPOCH = EpochResult(1, 2.0, 0.5, float("inf"), 0.25, 0.1, 3.0, 0.5, 1e4, 0.5, True, (FLOW,), "frozen", 48, 0)
SOME = Checkpoint(CONFIG, [EPOCH], {"weights": torch.arange(300.0), "best": float("inf"), "sent": [(True, None)]})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "new" / "trial.pt", SOME)
    return tmp_path / "new" / "trial.pt"


def _left(file: Path) -> list[str]:
    return [left.name for left in file.parent.iterdir() if left.name != MARK]


def _is_whole(file: Path) -> bool:
    loaded = load_checkpoint(file, CONFIG)
    if loaded is None:
        return False
    tensors = loaded.state["weights"], SOME.state["weights"]
    return torch.equal(*tensors) and replace(loaded, state={}) == replace(SOME, state={})


def test_only_what_is_there_and_fits_is_loaded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _is_whole(file)
    loaded = load_checkpoint(file, CONFIG)
    assert loaded is not None
    assert {**loaded.state, "weights": 0} == {**SOME.state, "weights": 0}
    assert _left(file) == ["trial.pt"]
    assert load_checkpoint(file, {**CONFIG, "batch_size": 33}) is None
    assert load_checkpoint(file.with_name("none.pt"), CONFIG) is None
    monkeypatch.setattr(module, "HEADER", b"dnntune checkpoint 0\n")
    assert load_checkpoint(file, CONFIG) is None


def test_a_damaged_file_is_not_loaded(file: Path) -> None:
    whole = file.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 101)] + [whole + b"\0", bytes(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in range(0, len(whole), 23)]
    for content in damaged:
        file.write_bytes(content)
        assert load_checkpoint(file, CONFIG) is None


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code has run",)


def test_no_code_is_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    save_checkpoint(file, Checkpoint(CONFIG, [], {"weights": _Code()}))
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(file, CONFIG)
    assert not Path("code has run").exists()


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Half(io.FileIO):
    """A file of which the contents are half written when something happens."""

    happens: Callable[[], None] = staticmethod(_die)

    def write(self, content: Any) -> int:
        if len(content) < 100:
            return super().write(content)
        super().write(content[: len(content) // 2])
        self.happens()
        raise AssertionError


@pytest.mark.parametrize("when", ["open", "replace"])
def test_a_process_killed_while_it_saves_leaves_the_last_checkpoint(
    when: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(SOME, state={"weights": torch.zeros(5000)})
    with monkeypatch.context() as patch:
        patch.setattr(Path, when, (lambda path, mode: _Half(path, mode)) if when == "open" else _die)
        child = multiprocessing.get_context("fork").Process(target=save_checkpoint, args=(file, other))
        child.start()
        child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert _is_whole(file)
    assert len(_left(file)) == 2
    CheckpointWriter(file, CONFIG).remove()
    assert _left(file) == []
    CheckpointWriter(file, CONFIG).remove()


def test_a_full_disk_leaves_the_last_checkpoint(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_Half, "happens", staticmethod(fail))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: _Half(path, mode))
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(file, SOME)
    assert _is_whole(file)
    assert _left(file) == ["trial.pt"]


def test_saving_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, saved = 100.0, []

    def save(_file: Path, checkpoint: Checkpoint) -> None:
        nonlocal now
        now += 2.0
        saved.append(len(checkpoint.epochs))

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(module, "save_checkpoint", save)
    training: Any = SimpleNamespace(state_dict=dict)
    writer = CheckpointWriter(tmp_path / "trial.pt", CONFIG)
    epochs: list[Any] = []
    for seconds in (0.5, 13.0, 26.9, 0.2, 45.0, 1.0):
        now += seconds
        epochs.append(None)
        writer.after_epoch(training, epochs)
    assert saved == [1, 4, 5]
    writer.save(training, epochs)
    writer.save(training, epochs)
    assert saved == [1, 4, 5, 6]
