import os
import time
from pathlib import Path

import optuna
import pytest

from pipeline.core.folders import make_folder
from pipeline.core.workspace import Places
from pipeline.scheduling.config import Retention
from pipeline.scheduling.retention import DAY_SECONDS, remove_old
from pipeline.scheduling.run import PREPARED, RUN, SCHEDULE


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@pytest.fixture
def storage() -> optuna.storages.InMemoryStorage:
    return optuna.storages.InMemoryStorage()


def prepared(storage: optuna.storages.BaseStorage, places: Places, day: int, *, days_ago: float) -> str:
    """Makes a study of the schedule nightly with something in each of its folders, and returns its name."""
    name = f"nightly-{day}"
    study = optuna.create_study(storage=storage, study_name=name)
    attrs = {SCHEDULE: "nightly", RUN: str(day), PREPARED: time.time() - days_ago * DAY_SECONDS}
    for attr, value in attrs.items():
        study.set_user_attr(attr, value)
    for folder in (places.checkpoints(name), places.models(name), places.models(f"{name}-final")):
        make_folder(folder)
        (folder / "file").write_bytes(b"1234")
    optuna.create_study(storage=storage, study_name=f"{name}-final")
    places.final(name).parent.mkdir(exist_ok=True)
    places.final(name).write_text("{}")
    return name


def kept(places: Places, name: str) -> list[bool]:
    return [f.exists() for f in (places.checkpoints(name), places.models(name), places.models(f"{name}-final"))]


def test_what_is_old_and_not_among_the_last_is_removed(places: Places, storage: optuna.storages.BaseStorage) -> None:
    names = [prepared(storage, places, day, days_ago=ago) for day, ago in enumerate((90, 80, 10, 5))]
    removed = remove_old(storage, "nightly", places, Retention(studies=1, days=30))
    assert removed.studies == tuple(names[:2])
    assert removed.num_bytes == 2 * 3 * 4
    assert [any(kept(places, name)) for name in names] == [False, False, True, True]
    assert all(places.final(name).exists() for name in names)


def test_the_last_studies_stay_however_old(places: Places, storage: optuna.storages.BaseStorage) -> None:
    names = [prepared(storage, places, day, days_ago=90) for day in range(3)]
    assert remove_old(storage, "nightly", places, Retention(studies=2, days=1)).studies == (names[0],)
    assert all(kept(places, names[2]))


def test_other_studies_are_left_alone(places: Places, storage: optuna.storages.BaseStorage) -> None:
    optuna.create_study(storage=storage, study_name="nightly-by-hand")
    make_folder(places.models("nightly-by-hand"))
    make_folder(places.models("nightly-1-finalists"))
    prepared(storage, places, 1, days_ago=90)
    assert remove_old(storage, "night", places, Retention(studies=1, days=0)).studies == ()
    remove_old(storage, "nightly", places, Retention(studies=1, days=0))
    assert places.models("nightly-by-hand").exists()
    assert places.models("nightly-1-finalists").exists()


def test_features_that_nobody_has_read_since_are_removed(places: Places, storage: optuna.storages.BaseStorage) -> None:
    places.feature_cache.mkdir(parents=True)
    for name, days_ago in (("old", 40.0), ("new", 1.0)):
        entry = places.feature_cache / f"{name}.npy"
        entry.write_bytes(b"12345678")
        os.utime(entry, (0, time.time() - days_ago * DAY_SECONDS))
    assert remove_old(storage, "nightly", places, Retention(days=30)).num_bytes == 8
    assert [file.name for file in places.feature_cache.glob("*.npy")] == ["new.npy"]
