"""Patience: what a lost connection or a lock has stopped is tried again, for as long as a server may be away."""

import functools
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat

# How long an operation is tried before its error is raised; a server that restarts or moves takes less.
RETRY_SECONDS = 300.0
# How long it is tried to open a storage: a wrong address should be told soon.
OPENING_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0

Result = TypeVar("Result")
Storage = TypeVar("Storage", bound=type[BaseStorage])

_log = logging.getLogger(__name__)
_thread = threading.local()


def call_with_retry(
    operation: Callable[[], Result],
    is_transient: Callable[[Exception], bool],
    kinds: tuple[type[Exception], ...],
    seconds: float,
) -> Result:
    """Calls a function, again and again while it fails for a reason that passes.

    The pauses grow, and are drawn at random: what broke one worker's operation broke all the others' in that moment.

    Args:
        operation: The function.
        is_transient: Says whether an error may be gone the next time.
        kinds: The errors to ask that of.
        seconds: After how many the error is raised nevertheless.
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
                _log.warning("the study storage does not answer: retrying for up to %.0f s", seconds)
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def retry_operations(
    is_transient: Callable[[Exception], bool],
    kinds: tuple[type[Exception], ...],
    told: Callable[[Any, Exception], Exception | None] = lambda storage, error: None,
) -> Callable[[Storage], Storage]:
    """Returns a class decorator that makes every operation of a storage a patient one.

    Args:
        is_transient: Says whether an error may be gone the next time.
        kinds: The errors to ask that of.
        told: From the storage and an error that does not pass to what is raised in its place; None for the error.

    An operation that calls others is tried again as a whole. Most can be repeated even if the first attempt took effect
    and only its answer was lost; one that can not has to ask `is_retry`.
    """

    def decorate(storage: Storage) -> Storage:
        public = {name for base in (BaseStorage, BaseHeartbeat) for name in vars(base) if not name.startswith("_")}
        # Optuna's cache calls some that are not public.
        private = {"_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id", "_get_stale_trial_ids"}
        for name in sorted(public | private):
            if hasattr(storage, name):
                setattr(storage, name, _retried(getattr(storage, name), is_transient, kinds, told))
        return storage

    return decorate


def is_retry() -> bool:
    """Returns whether this thread's operation has failed before, and may have taken effect nevertheless."""
    return _tries() > 1


def _tries() -> int:
    tries: int = getattr(_thread, "tries", 0)
    return tries


def _retried(
    operation: Callable[..., Any],
    is_transient: Callable[[Exception], bool],
    kinds: tuple[type[Exception], ...],
    told: Callable[[Any, Exception], Exception | None],
) -> Callable[..., Any]:
    @functools.wraps(operation)
    def retried(*args: Any, **kwargs: Any) -> Any:
        if _tries():
            return operation(*args, **kwargs)

        def attempt() -> Any:
            _thread.tries = _tries() + 1
            return operation(*args, **kwargs)

        try:
            return call_with_retry(attempt, is_transient, kinds, RETRY_SECONDS)
        except kinds as error:
            if (clearer := told(args[0], error)) is None:
                raise
            raise clearer from error
        finally:
            _thread.tries = 0

    return retried
