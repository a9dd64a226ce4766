"""What a frozen network prefix makes of a data set: computed once a machine, mapped from disk by all processes.

An entry is a file ``<hash>.npy`` that `numpy.load` reads, beside it ``<hash>.json``, which says what it is, and
``<hash>.lock``. A file that is being written is ``<hash>.partial``; it is renamed when it is whole and on the disk.
"""

import hashlib
import io
import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.errors import DataError

POLL_SECONDS = 0.2
# A study's databases and logs stand on the same disk: filling it would break them.
SPARED_BYTES = 256 * 2**20
_DTYPES: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float16: np.float16}

Chunks = Callable[[], Iterator[tuple[Tensor, Tensor]]]


def ignore(*_: object) -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Entry:
    """Cached features.

    Attributes:
        features: (images, ...), on the processor, mapped from the file; what is written to it stays in this process.
        built_rows: Images whose features this call computed: all or none.
    """

    features: Tensor
    built_rows: int


@dataclass(frozen=True)
class FeatureCache:
    """A folder of feature tensors, shared by processes.

    Attributes:
        folder: Where they are kept.
        notify: Is told, in a line, why the cache is not used and what takes time.
        tick: Is called between chunks and while another process is waited for; what it raises ends the call.
    """

    folder: Path
    notify: Callable[[str], None] = ignore
    tick: Callable[[], None] = ignore

    def load(
        self, key: Mapping[str, Any], *, shape: tuple[int, ...], dtype: torch.dtype, limit_bytes: int, compute: Chunks
    ) -> Entry | None:
        """Returns the features that belong to a key; builds them if no process has done so.

        Args:
            key: All that the features depend on: network, weights, data, preprocessing. Plain JSON values.
            shape: (images, ...).
            dtype: float32 or float16.
            limit_bytes: The setting ``feature_cache.limit_gib``, in bytes; an entry may be that large.
            compute: Makes (rows (n,), features (n, ...)) until each row was there; features are cast to `dtype`.

        Returns:
            None where the entry is larger than the limit or than the disk allows; nothing is computed then.

        Raises:
            DataError: The folder cannot be read or written.
        """
        assert min(shape) > 0
        assert dtype in _DTYPES
        identity = {"key": key, "shape": shape, "dtype": str(dtype).removeprefix("torch.")}
        description = json.dumps(identity, indent=2, sort_keys=True)
        data = self.folder / f"{hashlib.sha256(description.encode()).hexdigest()[:32]}.npy"
        what = f"{' x '.join([f'{shape[0]:,} images', *map(str, shape[1:])])} in {identity['dtype']}"
        needed = total_bytes(shape, dtype)
        if needed > limit_bytes:
            self.notify(
                f"the feature cache is not used: {what} take {_size(needed)}, over feature_cache.limit_gib = "
                f"{limit_bytes / 2**30:g}; raise it, or take fewer or smaller images"
            )
            return None
        if (features := self._mapped(data, shape, dtype)) is not None:
            return Entry(features, 0)
        with self._locked(data, what):
            if (features := self._mapped(data, shape, dtype)) is not None:
                return Entry(features, 0)
            if not self._make_room(data, needed, what):
                return None
            self.notify(f"computing features once for all trials: {what}, {_size(needed)} in {self.folder}")
            self._build(data, shape, dtype, description, compute)
            features = self._mapped(data, shape, dtype)
        assert features is not None
        return Entry(features, shape[0])

    def _mapped(self, data: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """Returns what is in a file; None where there is none, or it is not whole."""
        header = _header(shape, dtype)
        with self._disk(), suppress(FileNotFoundError), data.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == len(header) + total_bytes(shape, dtype) and file.read(len(header)) == header:
                with suppress(OSError):  # a cache that somebody else owns serves as well
                    os.utime(file.fileno())
                # Copy-on-write, as torch warns of memory that it may not write to.
                values = np.memmap(file, _DTYPES[dtype], "c", offset=len(header), shape=shape)
                return torch.from_numpy(values)
        return None

    def _make_room(self, data: Path, needed: int, what: str) -> bool:
        """Removes what killed builders have left, and says whether the disk then has room."""
        if data.exists():
            self.notify(f"{data}: is not whole; its features are computed again")
        with self._disk():
            _remove(data)
            for partial in self.folder.glob("*.partial"):
                with suppress(Timeout), FileLock(partial.with_suffix(".lock"), timeout=0):
                    partial.unlink(missing_ok=True)
            free = shutil.disk_usage(self.folder).free
        if needed + SPARED_BYTES <= free:
            return True
        self.notify(
            f"the feature cache is not used: {what} take {_size(needed)} and {_size(SPARED_BYTES)} must stay free, but "
            f"{self.folder} has {_size(free)}; free space there, or take fewer or smaller images"
        )
        return False

    def _build(self, data: Path, shape: tuple[int, ...], dtype: torch.dtype, description: str, compute: Chunks) -> None:
        header, covered, partial = _header(shape, dtype), np.zeros(shape[0], bool), data.with_suffix(".partial")
        try:
            with self._disk():
                file = partial.open("xb", buffering=0)
            with file:
                # Written, not mapped: a full disk is an error here, and would be a fatal signal there.
                with self._disk():
                    # So that another builder sees at once that this space is taken.
                    os.posix_fallocate(file.fileno(), 0, len(header) + total_bytes(shape, dtype))
                    file.write(header)
                for chunk_rows, chunk in compute():
                    assert chunk.shape == (chunk_rows.numel(), *shape[1:])
                    rows = chunk_rows.flatten().cpu().numpy()
                    assert rows.min() >= 0
                    covered[rows] = True
                    values = chunk.detach().to("cpu", dtype).contiguous().numpy()
                    with self._disk():
                        _write_rows(file.fileno(), rows, values, len(header))
                    self.tick()
                assert covered.all(), f"{(~covered).sum()} rows were not computed"
                with self._disk():
                    os.fsync(file.fileno())
            with self._disk():
                data.with_suffix(".json").write_text(description + "\n")
                partial.rename(data)
        except BaseException:
            _remove(data)
            raise

    @contextmanager
    def _locked(self, data: Path, what: str) -> Iterator[None]:
        with self._disk():
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data.with_suffix(".lock"))
        for attempt in itertools.count():
            with self._disk(), suppress(Timeout):
                lock.acquire(timeout=POLL_SECONDS)
            if lock.is_locked:
                break
            if attempt == 0:
                self.notify(f"waiting for another process that computes features: {what}")
            self.tick()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.folder}: the feature cache must be able to read and write here; {error.strerror or error}. "
                "Free space, mend the permissions, or set feature_cache.enabled: false to do without it"
            ) from None


def remove_unused(folder: Path, *, before: float) -> int:
    """Removes the entries that no process has mapped since a moment; those that are being built or mapped stay.

    A process that has an entry mapped keeps what it has: the disk's space is free when it ends.

    Args:
        folder: A feature cache's folder.
        before: Unix time in seconds.

    Returns:
        The bytes that were removed.
    """
    num_bytes = 0
    for data in folder.glob("*.npy"):
        with suppress(Timeout, FileNotFoundError), FileLock(data.with_suffix(".lock"), timeout=0):
            status = data.stat()
            if status.st_mtime < before:
                _remove(data)
                num_bytes += status.st_size
    return num_bytes


def total_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Returns the bytes that a tensor's values take."""
    return math.prod(shape) * dtype.itemsize


def _header(shape: tuple[int, ...], dtype: torch.dtype) -> bytes:
    """Returns how the file of an entry begins: it is compared, so that nothing of a damaged file is interpreted."""
    content = io.BytesIO()
    description = {"descr": np.dtype(_DTYPES[dtype]).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, description)
    return content.getvalue()


def _write_rows(descriptor: int, rows: NDArray[np.int64], values: NDArray[Any], offset: int) -> None:
    """Writes features (n, ...) to where their rows belong; consecutive rows at once."""
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        position = offset + int(rows[start]) * values[0].nbytes
        left = memoryview(values[start:stop].tobytes())
        while left:  # the kernel takes 2 GiB at most
            written = os.pwrite(descriptor, left, position)
            left, position = left[written:], position + written


def _remove(data: Path) -> None:
    for ending in (".npy", ".json", ".partial"):
        data.with_suffix(ending).unlink(missing_ok=True)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
