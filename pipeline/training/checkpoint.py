"""Checkpoints: a file with all that decides how a training goes on after an epoch."""

import io
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline.core.filesystem.files import write_whole
from pipeline.core.filesystem.folders import make_folder
from pipeline.records.results import EPOCHS_TYPE, EpochResult

# What a file begins with. Its number is to be raised whenever what follows changes: an older file is then not read.
HEADER = b"dnntune checkpoint 1\n"
CHECKSUM_BYTES = 4
# The training takes at least this many times as long as the saving.
SPARING = 20.0


class Resumable(Protocol):
    """A training, as far as a checkpoint is concerned; see `pipeline.training.start.Training`."""

    def state_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Checkpoint:
    """A training after an epoch.

    Attributes:
        config: Its configuration as plain values.
        epochs: What its epochs have brought, those of earlier folds included.
        state: All else of the present fold's training; see `pipeline.training.start.Training.state_dict`.
    """

    config: dict[str, Any]
    epochs: list[EpochResult]
    state: dict[str, Any]

    @property
    def fold(self) -> int:
        """Number of the fold that it is in, from 1; 0 without folds."""
        return self.epochs[-1].fold if self.epochs else 0


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint; whoever reads the file, and whatever happens meanwhile, finds the last one or this one.

    Raises:
        OSError: It cannot be written.
    """
    content = io.BytesIO()
    epochs = [epoch.to_json() for epoch in checkpoint.epochs]
    torch.save({"config": checkpoint.config, "epochs": epochs, "state": checkpoint.state}, content)
    make_folder(file.parent)
    write_whole(file, HEADER + _checksum(content.getbuffer()), content.getbuffer())


def load_checkpoint(file: Path, config: dict[str, Any]) -> Checkpoint | None:
    """Reads a checkpoint, onto the processor; runs no code from it.

    Args:
        file: Where it would be.
        config: The configuration that it must be of, as plain values.

    Returns:
        None if there is no file, if it is damaged, or if it is of another configuration or format.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    begin = len(HEADER) + CHECKSUM_BYTES
    # PyTorch's own format has checksums, but is read without a look at them.
    if content[:begin] != HEADER + _checksum(memoryview(content)[begin:]):
        return None
    fields = torch.load(io.BytesIO(content[begin:]), map_location="cpu", weights_only=True)
    if fields["config"] != config:
        return None
    return Checkpoint(config, EPOCHS_TYPE.validate_python(fields["epochs"]), fields["state"])


def _checksum(content: memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "big")


class CheckpointWriter:
    """Keeps a training's last checkpoint.

    Args:
        file: Where.
        config: The training's configuration as plain values.
    """

    def __init__(self, file: Path, config: dict[str, Any]) -> None:
        self.file, self.config = file, config
        self.saved_epochs = 0
        self.saved_at, self.took = -float("inf"), 0.0  # in seconds: when the last save ended, and its duration

    def after_epoch(self, training: Resumable, epochs: Sequence[EpochResult]) -> None:
        """Saves a training right after an epoch, unless the last save is so short a time ago that it would be slowed.

        Args:
            training: The training.
            epochs: All its epochs so far.
        """
        if time.perf_counter() - self.saved_at >= SPARING * self.took:
            self.save(training, epochs)

    def save(self, training: Resumable, epochs: Sequence[EpochResult]) -> None:
        """Saves a training right after an epoch, if that has not been done."""
        if len(epochs) == self.saved_epochs:
            return
        began = time.perf_counter()
        save_checkpoint(self.file, Checkpoint(self.config, list(epochs), training.state_dict()))
        self.saved_at, self.saved_epochs = time.perf_counter(), len(epochs)
        self.took = self.saved_at - began

    def remove(self) -> None:
        """Removes the checkpoint, and what processes that were killed while they saved have left."""
        self.file.unlink(missing_ok=True)
        for partial in self.file.parent.glob(f"{self.file.name}.*.partial"):
            partial.unlink(missing_ok=True)
