"""Patience: what a lost connection or a lock has stopped is tried again, for as long as a server may be away."""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat

from pipeline.core.retry import call_with_retry

# How long an operation is tried before its error is raised; a server that restarts or moves takes less.
RETRY_SECONDS = 300.0
# How long it is tried to open a storage: a wrong address should be told soon.
OPENING_SECONDS = 5.0
WHAT = "the study storage does not answer"

Storage = TypeVar("Storage", bound=type[BaseStorage])

_thread = threading.local()


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
            return call_with_retry(attempt, kinds, RETRY_SECONDS, is_transient, WHAT)
        except kinds as error:
            if (clearer := told(args[0], error)) is None:
                raise
            raise clearer from error
        finally:
            _thread.tries = 0

    return retried
