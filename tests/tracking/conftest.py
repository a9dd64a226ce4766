"""Logs of a study in a real MLflow store."""

from pathlib import Path

import pytest

from pipeline.places import Places
from pipeline.tracking import patience
from pipeline.tracking.study_log import StudyLog


@pytest.fixture
def log(workspace: Path) -> StudyLog:
    return StudyLog(Places(workspace), "s")


@pytest.fixture
def beside(workspace: Path) -> StudyLog:
    """Another process's log of the same study."""
    return StudyLog(Places(workspace), "s")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a store for moments only."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.01)
