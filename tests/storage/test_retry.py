import time
from typing import NoReturn

import pytest
from optuna.storages import InMemoryStorage

from pipeline.storage import retry as retry_module
from pipeline.storage.retry import is_retry, retry_operations


class PassingError(Exception):
    pass


def is_transient(error: Exception) -> bool:
    return isinstance(error, PassingError)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in a clock that only they move."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(made))
    return made


def test_an_operation_in_an_operation_adds_no_patience(pauses: list[float]) -> None:
    """Or what is tried for five minutes, each time for five minutes, would take an hour."""
    calls = []

    class Storage(InMemoryStorage):
        def get_study_directions(self, study_id: int) -> NoReturn:
            del study_id
            calls.append(is_retry())
            raise PassingError

        def get_best_trial(self, study_id: int) -> NoReturn:
            self.get_study_directions(study_id)

    storage = retry_operations(is_transient, (PassingError,))(Storage)()
    with pytest.raises(PassingError):
        storage.get_best_trial(0)
    assert sum(pauses) <= retry_module.RETRY_SECONDS
    assert calls[0] is False
    assert set(calls[1:]) == {True}
    assert not is_retry()
