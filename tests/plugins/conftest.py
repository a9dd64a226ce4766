from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.plugins.loading import load_plugins, loaded_plugins, unload

SMALL_CONV = Path(__file__).with_name("small_conv.py")


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    """Ends each test without plug-ins."""
    yield
    for plugin in loaded_plugins():
        unload(plugin)


@pytest.fixture
def small_conv() -> Path:
    """The plug-in of the documentation, loaded."""
    load_plugins([SMALL_CONV])
    return SMALL_CONV
