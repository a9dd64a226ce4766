"""Features on disk: built once by whoever comes first, and never read unless they are whole."""

import json
import os
import resource
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.data.feature_cache import FeatureCache, remove_unused, total_bytes
from tests.at_once import PROCESSES, start_processes

SHAPE = (20, 3, 2)
# Rows as a shuffled loader gives them: in no order, in runs, alone, and the last chunk smaller.
CHUNKS = [[7, 8, 9, 10, 3, 1, 0], [2, 4, 5, 6, 19, 18, 17], [11, 12, 13, 14, 15, 16]]
FEATURES = torch.arange(120.0).view(SHAPE) - 0.125
KEY = {"network": "lite0", "weights": "f00d", "size": [96, 96], "mean": 0.5}
NEVER = None  # a call of it fails


def _compute() -> Iterator[tuple[Tensor, Tensor]]:
    for rows in CHUNKS:
        yield torch.tensor(rows), FEATURES[rows]


def _load(cache: FeatureCache, key: Any = KEY, compute: Any = _compute, **changes: Any) -> Any:
    settings: Any = {"shape": SHAPE, "dtype": torch.float32, "limit_bytes": 2**40} | changes
    return cache.load(key, compute=compute, **settings)


def _built(cache: FeatureCache, key: Any = KEY, compute: Any = _compute) -> int:
    """Loads the entry that most tests are about, compares it, and returns how many rows were built."""
    entry = _load(cache, key, compute)
    torch.testing.assert_close(entry.features, FEATURES, rtol=0, atol=0)
    return entry.built_rows


def _names(cache: FeatureCache) -> list[str]:
    """Returns the endings of the files in the folder, locks aside."""
    return sorted(file.suffix for file in cache.folder.iterdir() if file.suffix != ".lock")


def _data(cache: FeatureCache) -> Path:
    (file,) = cache.folder.glob("*.npy")
    return file


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> FeatureCache:
    return FeatureCache(tmp_path / "cache" / "features", said.append)


def test_builds_once_then_maps_and_says_what_is_there(cache: FeatureCache, said: list[str]) -> None:
    assert _built(cache) == 20
    with FileLock(_data(cache).with_suffix(".lock")):  # readers need no lock
        assert _built(cache, dict(reversed(KEY.items())), compute=NEVER) == 0
    assert said == [f"computing features once for all trials: 20 images x 3 x 2 in float32, 0.0 MiB in {cache.folder}"]
    assert _names(cache) == [".json", ".npy"]
    described = json.loads(_data(cache).with_suffix(".json").read_text())
    assert described == {"key": KEY, "shape": [20, 3, 2], "dtype": "float32"}
    np.testing.assert_array_equal(np.load(_data(cache)), FEATURES.numpy())


def test_what_differs_is_another_entry_and_values_are_kept_even_if_not_finite(cache: FeatureCache) -> None:
    _load(cache)
    odd = FEATURES.clone().index_fill_(0, torch.tensor(3), float("nan")).mul_(1e4).requires_grad_()
    others: list[dict[str, Any]] = [
        {"key": KEY | {"weights": "beef"}},
        {"dtype": torch.float16, "compute": lambda: iter([(torch.arange(20), odd)])},
        {"shape": (20, 2, 3), "compute": lambda: iter([(torch.arange(20), FEATURES.view(20, 2, 3))])},
        {"shape": (10, 3, 2), "compute": lambda: iter([(torch.arange(10), FEATURES[:10])])},
    ]
    for changes in others:
        assert _load(cache, **changes).built_rows == changes.get("shape", SHAPE)[0]
        assert _load(cache, **changes | {"compute": NEVER}).built_rows == 0
    assert _built(cache, compute=NEVER) == 0
    half = _load(cache, dtype=torch.float16, compute=NEVER).features
    torch.testing.assert_close(half, odd.detach().half(), rtol=0, atol=0, equal_nan=True)
    assert _names(cache) == [".json"] * 5 + [".npy"] * 5


@pytest.mark.filterwarnings("error")
def test_features_are_mapped_and_writing_to_them_stays_here(cache: FeatureCache) -> None:
    features = _load(cache).features
    mappings = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(cache.folder) in line]
    ranges = [[int(bound, 16) for bound in line.split()[0].split("-")] for line in mappings]
    assert any(start <= features.data_ptr() < stop for start, stop in ranges)
    features.zero_()
    torch.testing.assert_close(features.index_select(0, torch.tensor([3, 1])), torch.zeros(2, 3, 2))
    assert _built(cache, compute=NEVER) == 0


def _work(cache: FeatureCache, barrier: Barrier, log: Path, seconds: float) -> None:
    def compute_slowly() -> Iterator[tuple[Tensor, Tensor]]:
        for chunk in _compute():
            yield chunk
            with log.open("a") as file:
                file.write("a chunk\n")
            time.sleep(seconds)

    barrier.wait()
    raise SystemExit(_built(cache, compute=compute_slowly))


def test_of_workers_that_start_together_one_builds(cache: FeatureCache, tmp_path: Path) -> None:
    arguments = (FeatureCache(cache.folder), PROCESSES.Barrier(4, timeout=200), tmp_path / "log", 0.1)
    workers = start_processes(_work, *arguments, number=4)
    for worker in workers:
        worker.join()
    assert sorted(worker.exitcode or 0 for worker in workers) == [0] * 3 + [20]
    assert (tmp_path / "log").read_text() == "a chunk\n" * len(CHUNKS)


@pytest.mark.parametrize("next_key", [KEY, {"network": "another"}])
def test_the_next_builder_removes_what_a_killed_one_left(next_key: Any, cache: FeatureCache, tmp_path: Path) -> None:
    barrier = PROCESSES.Barrier(1)
    (builder,) = start_processes(_work, FeatureCache(cache.folder), barrier, tmp_path / "log", 600, number=1)
    while not (tmp_path / "log").exists():
        assert builder.is_alive()
        time.sleep(0.01)
    builder.kill()
    builder.join()
    assert _names(cache) == [".partial"]
    with FileLock(cache.folder / "living.lock"):
        (cache.folder / "living.partial").touch()
        assert _built(cache, next_key) == 20
    assert [file.name for file in cache.folder.glob("*.partial")] == ["living.partial"]


def test_a_file_that_is_not_whole_is_built_anew(cache: FeatureCache, said: list[str]) -> None:
    _load(cache)
    content = _data(cache).read_bytes()
    cuts = (b"", content[:50], content[:-1], content + b"\0", bytes(len(content)))
    for broken in (*cuts, content.replace(b"20, 3, 2", b"20, 2, 3"), content.replace(b"f4", b"i4")):
        assert broken != content
        _data(cache).write_bytes(broken)
        assert _built(cache) == 20
        assert said[-2] == f"{_data(cache)}: is not whole; its features are computed again"


def test_the_limit(cache: FeatureCache, said: list[str]) -> None:
    assert total_bytes(SHAPE, torch.float32) == 480
    assert _load(cache, limit_bytes=479, compute=NEVER) is None
    assert not cache.folder.exists()
    assert _load(cache, limit_bytes=480).built_rows == 20
    assert _load(cache, shape=(60_000, 1280, 7, 7), dtype=torch.float16, limit_bytes=5 * 2**29, compute=NEVER) is None
    assert said[-1] == (
        "the feature cache is not used: 60,000 images x 1280 x 7 x 7 in float16 take 7.0 GiB, over "
        "feature_cache.limit_gib = 2.5; raise it, or take fewer or smaller images"
    )


def test_a_disk_without_room(cache: FeatureCache, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(free=479 + 256 * 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: disk)
    assert _load(cache, compute=NEVER) is None
    assert said[-1] == (
        "the feature cache is not used: 20 images x 3 x 2 in float32 take 0.0 MiB and 256.0 MiB must stay free, but "
        f"{cache.folder} has 256.0 MiB; free space there, or take fewer or smaller images"
    )
    assert _names(cache) == []
    disk.free += 1
    assert _built(cache) == 20


def test_a_disk_that_fails(cache: FeatureCache) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(DataError, match=r"features: .*write here; File too large\. .*cache.enabled: false"):
            _load(cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _names(cache) == []
    assert _built(cache) == 20
    with pytest.raises(DataError, match=r"npy: .*able to .*; Not a directory\. Free space"):
        _load(FeatureCache(_data(cache)))


def _give_up(*_: object) -> Any:
    raise BrokenPipeError  # to the supervisor: no fault of the disk


@pytest.mark.parametrize(("compute", "tick"), [(lambda: map(_give_up, [0]), print), (_compute, _give_up)])
def test_who_gives_up_leaves_nothing(compute: Any, tick: Any, cache: FeatureCache) -> None:
    with pytest.raises(BrokenPipeError):
        _load(FeatureCache(cache.folder, tick=tick), compute=compute)
    assert _names(cache) == []
    (lock,) = cache.folder.glob("*.lock")
    with FileLock(lock), pytest.raises(BrokenPipeError):
        _load(FeatureCache(cache.folder, tick=_give_up), compute=NEVER)
    assert _built(cache) == 20


def test_rows_that_are_missing_or_do_not_fit_are_a_mistake_of_ours(cache: FeatureCache) -> None:
    rows = torch.arange(20)
    for misfit in ((rows[:19], FEATURES[:19]), (rows - 1, FEATURES), (rows, FEATURES[:, :2]), (rows[:19], FEATURES)):
        with pytest.raises(AssertionError):
            _load(cache, compute=lambda chunk=misfit: iter([chunk]))
        assert _names(cache) == []


def test_who_builds_or_waits_ticks_and_who_waited_maps(cache: FeatureCache, said: list[str]) -> None:
    ticks: list[int] = []
    _load(FeatureCache(cache.folder, said.append, lambda: ticks.append(1)))
    hidden = _data(cache).rename(cache.folder / "hidden")
    (file,) = cache.folder.glob("*.lock")
    (lock := FileLock(file)).acquire()

    def tick() -> None:
        ticks.append(2)
        if ticks.count(2) == 2:
            hidden.rename(file.with_suffix(".npy"))
            lock.release()

    assert _built(FeatureCache(cache.folder, said.append, tick), compute=NEVER) == 0
    assert ticks == [1, 1, 1, 2, 2]
    assert said[1:] == ["waiting for another process that computes features: 20 images x 3 x 2 in float32"]


def test_what_was_not_read_for_long_is_removed(cache: FeatureCache) -> None:
    assert remove_unused(cache.folder, before=1000.0) == 0
    _load(cache)
    single = _data(cache)
    mapped = _load(cache, dtype=torch.float16)
    half = next(data for data in cache.folder.glob("*.npy") if data != single)
    os.utime(single, (0, 1000))
    os.utime(half, (0, 999))
    assert remove_unused(cache.folder, before=1000.0) == 128 + 240
    assert list(cache.folder.glob("*.npy")) == [single]
    assert not half.with_suffix(".json").exists()
    assert mapped is not None
    assert len(mapped.features) == 20  # who has it mapped keeps it
    assert _load(cache, dtype=torch.float16).built_rows == 20


def test_reading_an_entry_keeps_it(cache: FeatureCache) -> None:
    _load(cache)
    os.utime(_data(cache), (0, 1000))
    _load(cache, compute=NEVER)
    assert remove_unused(cache.folder, before=2000.0) == 0


def test_an_entry_that_another_process_holds_stays(cache: FeatureCache) -> None:
    _load(cache)
    os.utime(_data(cache), (0, 1000))
    with FileLock(_data(cache).with_suffix(".lock"), is_singleton=False):
        assert remove_unused(cache.folder, before=2000.0) == 0
    assert _data(cache).exists()
