import time

import pytest
from optuna.storages import InMemoryStorage

from pipeline.storage import retry as retry_module
from pipeline.storage.retry import call_with_retry, is_retry, retry_operations


class PassingError(Exception):
    pass


class LastingError(Exception):
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


class Flaky:
    """Fails so many times."""

    def __init__(self, failures: int, error: type[Exception] = PassingError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


def test_what_passes_is_tried_again_with_growing_pauses(pauses: list[float]) -> None:
    flaky = Flaky(12)
    assert call_with_retry(flaky, is_transient, (PassingError,), 300.0) == "done"
    assert flaky.calls == 13
    assert 0.05 <= pauses[0] <= 0.1
    assert 2.5 <= pauses[-1] <= 5.0


def test_patience_ends(pauses: list[float]) -> None:
    flaky = Flaky(10**9)
    with pytest.raises(PassingError):
        call_with_retry(flaky, is_transient, (PassingError,), 300.0)
    assert 290.0 < sum(pauses) <= 300.0


def test_what_does_not_pass_is_raised_at_once(pauses: list[float]) -> None:
    flaky = Flaky(1, LastingError)
    with pytest.raises(LastingError):
        call_with_retry(flaky, is_transient, (PassingError, LastingError), 300.0)
    assert pauses == []


def test_a_long_wait_is_told_once(pauses: list[float], caplog: pytest.LogCaptureFixture) -> None:
    call_with_retry(Flaky(3), is_transient, (PassingError,), 300.0)
    assert caplog.messages == []
    call_with_retry(Flaky(20), is_transient, (PassingError,), 300.0)
    assert len(caplog.messages) == 1
    assert "does not answer" in caplog.messages[0]


def test_an_operation_in_an_operation_adds_no_patience(pauses: list[float]) -> None:
    """Or what is tried for five minutes, each time for five minutes, would take an hour."""
    calls = []

    class Storage(InMemoryStorage):
        def get_study_directions(self, study_id: int) -> None:
            calls.append(is_retry())
            raise PassingError

        def get_best_trial(self, study_id: int) -> None:
            self.get_study_directions(study_id)

    storage = retry_operations(is_transient, (PassingError,))(Storage)()
    with pytest.raises(PassingError):
        storage.get_best_trial(0)
    assert sum(pauses) <= retry_module.RETRY_SECONDS
    assert calls[0] is False
    assert set(calls[1:]) == {True}
    assert not is_retry()
