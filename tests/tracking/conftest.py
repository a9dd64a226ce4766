"""Logs of a study in a real MLflow store."""

from pathlib import Path

import pytest

from pipeline.core.workspace import Workspace
from pipeline.tracking.mirror import Mirror
from tests.tracking.logs import mirror_of


@pytest.fixture
def mirror(workspace: Path) -> Mirror:
    return mirror_of(Workspace(workspace))


@pytest.fixture
def beside(workspace: Path) -> Mirror:
    """Another process's mirror of the same study."""
    return mirror_of(Workspace(workspace))
