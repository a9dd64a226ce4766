"""What fails for a reason that passes is tried again."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def call_with_retry(
    operation: Callable[[], Result],
    kinds: tuple[type[Exception], ...],
    seconds: float,
    is_transient: Callable[[Exception], bool] = lambda error: True,
    what: str = "it does not work",
) -> Result:
    """Calls a function, again and again while it fails for a reason that passes.

    The pauses grow, and are drawn at random: what broke one worker's operation broke all the others' in that moment.

    Args:
        operation: The function.
        kinds: The errors that may be gone the next time.
        seconds: After how many the error is raised nevertheless.
        is_transient: Says so of an error of these kinds.
        what: What is logged, once, where the pauses have become long.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    is_told = False
    while True:
        try:
            return operation()
        except kinds as error:
            if not is_transient(error) or time.monotonic() + pause > deadline:
                raise
            if pause == LONGEST_PAUSE_SECONDS and not is_told:
                is_told = True
                _log.warning("%s: retrying for up to %.0f s", what, seconds)
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
