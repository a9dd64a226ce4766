"""How much memory Python takes meanwhile."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Returns a function that says how many bytes were taken at most within the block; to be called after it."""
    tracemalloc.start()
    most = 0

    def taken() -> int:
        return most

    try:
        yield taken
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
