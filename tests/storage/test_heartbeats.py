import pytest

from pipeline.core.errors import StudyError
from pipeline.storage.heartbeats import HeartbeatSettings, heartbeat_settings


def test_the_rhythm_has_defaults_and_the_environment_overrules_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heartbeat_settings() == HeartbeatSettings(interval=10, grace_period=60)
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "30")
    monkeypatch.setenv("DNNTUNE_GRACE_PERIOD_SECONDS", "600")
    assert heartbeat_settings() == HeartbeatSettings(interval=30, grace_period=600)


@pytest.mark.parametrize("value", ["0", "-5", "ten", "1.5", "", "²"])
@pytest.mark.parametrize("variable", ["DNNTUNE_HEARTBEAT_SECONDS", "DNNTUNE_GRACE_PERIOD_SECONDS"])
def test_a_rhythm_is_in_whole_seconds(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StudyError, match=f"{variable} is a whole number of seconds, at least 1, not '{value}'"):
        heartbeat_settings()


def test_a_beat_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "31")
    with pytest.raises(StudyError, match=r"DNNTUNE_GRACE_PERIOD_SECONDS \(60\) must be at least twice"):
        heartbeat_settings()
