import time

import pytest

from pipeline.core.retry import call_with_retry


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
    assert call_with_retry(flaky, (PassingError,), 300.0) == "done"
    assert flaky.calls == 13
    assert 0.05 <= pauses[0] <= 0.1
    assert 2.5 <= pauses[-1] <= 5.0


def test_patience_ends(pauses: list[float]) -> None:
    flaky = Flaky(10**9)
    with pytest.raises(PassingError):
        call_with_retry(flaky, (PassingError,), 300.0)
    assert 290.0 < sum(pauses) <= 300.0


def test_what_does_not_pass_is_raised_at_once(pauses: list[float]) -> None:
    flaky = Flaky(1, LastingError)
    with pytest.raises(LastingError):
        call_with_retry(flaky, (PassingError, LastingError), 300.0, is_transient)
    assert pauses == []


@pytest.mark.usefixtures("pauses")
def test_a_long_wait_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    call_with_retry(Flaky(3), (PassingError,), 300.0, what="nobody answers")
    assert caplog.messages == []
    call_with_retry(Flaky(20), (PassingError,), 300.0, what="nobody answers")
    assert caplog.messages == ["nobody answers: retrying for up to 300 s"]
