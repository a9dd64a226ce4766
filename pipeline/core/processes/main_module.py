"""The module that Python was started with: somebody's script, which runs once."""

import contextlib
import threading
from collections.abc import Iterator
from multiprocessing import spawn
from typing import Any

_lock = threading.Lock()


@contextlib.contextmanager
def main_runs_once() -> Iterator[None]:
    """Has processes that multiprocessing starts meanwhile leave the main module alone.

    Else each runs the user's script again, as ``__mp_main__``: one without ``if __name__ == "__main__"`` would begin
    its study again in every worker. Ours need nothing of it.
    """
    prepared = spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        data = prepared(name)
        return {key: value for key, value in data.items() if not key.startswith("init_main_from_")}

    with _lock:
        spawn.get_preparation_data = without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = prepared
