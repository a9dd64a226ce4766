"""A store that does not answer may answer in a while: which errors are worth waiting for, and how long."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# For what somebody waits for; less than a minute would not outlast the restart of a server.
SECONDS = 60.0
# MLflow's codes for requests that will never succeed: what was sent is wrong, or not allowed. BAD_REQUEST is not among
# them: MLflow says so also where two processes write the same tag at once, and where a connection broke.
REFUSALS = frozenset(
    (
        *("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"),
        *("NOT_IMPLEMENTED", "PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "FEATURE_DISABLED"),
    )
)
# Mistakes in a program, which do not go away.
MISTAKES = (TypeError, ValueError, LookupError, AttributeError, NameError, ImportError, AssertionError, ArithmeticError)


def is_passing(error: Exception) -> bool:
    """Returns whether the same call may succeed later."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code not in REFUSALS
    if isinstance(error, OSError):  # first: some of requests' errors are ValueErrors too
        return not isinstance(error, PermissionError)
    return not isinstance(error, MISTAKES)  # clients of artifact stores have errors of their own


def persist(do: Callable[[], T], *, seconds: float = SECONDS, wait: Callable[[float], bool | None] = time.sleep) -> T:
    """Calls a function until it succeeds, with growing pauses.

    Args:
        do: It must be safe to call again after an error at any point of it.
        seconds: After this time it is not called again.
        wait: Pauses for so many seconds; returns True to give up.

    Raises:
        Exception: Its last error: one that is not worth waiting for, or the time is over.
    """
    ends = time.monotonic() + seconds
    pause = FIRST_PAUSE
    while True:
        try:
            return do()
        except Exception as error:
            if not is_passing(error) or time.monotonic() + pause > ends or wait(pause):
                raise
        pause = min(2 * pause, LONGEST_PAUSE)
