import time
from datetime import datetime

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import StudyError
from pipeline.study.beats import BEAT, Rhythm, Silence, rhythm


def test_the_rhythm_has_defaults_and_the_environment_overrules_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rhythm() == Rhythm(interval=10, grace=60)
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "30")
    monkeypatch.setenv("DNNTUNE_GRACE_SECONDS", "600")
    assert rhythm() == Rhythm(interval=30, grace=600)


@pytest.mark.parametrize("value", ["0", "-5", "ten", "1.5", "", "²"])
@pytest.mark.parametrize("variable", ["DNNTUNE_HEARTBEAT_SECONDS", "DNNTUNE_GRACE_SECONDS"])
def test_a_rhythm_is_in_whole_seconds(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StudyError, match=f"{variable} is a whole number of seconds, at least 1, not '{value}'"):
        rhythm()


def test_a_beat_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNTUNE_HEARTBEAT_SECONDS", "31")
    with pytest.raises(StudyError, match=r"DNNTUNE_GRACE_SECONDS \(60\) must be at least twice"):
        rhythm()


def _running(trial_id: int, beat: float | None) -> FrozenTrial:
    trial = optuna.trial.create_trial(state=TrialState.RUNNING, system_attrs={} if beat is None else {BEAT: beat})
    trial._trial_id, trial.datetime_start = trial_id, datetime.now()
    return trial


def test_silence_is_measured_by_ones_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    silence = Silence(grace=60)
    # Whatever the others' clocks say, and whether or not a heart has beaten at all, they are watched from now on.
    assert silence.dead(0, [_running(1, 5.0), _running(2, None), _running(3, 9e9)]) == []
    now += 50
    assert silence.dead(0, [_running(1, 5.1), _running(2, None), _running(3, 9e9)]) == []
    now += 11
    assert silence.dead(0, [_running(1, 5.1), _running(2, None), _running(3, 9e9)]) == [2, 3]
    now += 50
    assert silence.dead(0, [_running(1, 5.1)]) == [1]


def test_a_trial_that_runs_again_is_watched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    silence = Silence(grace=60)
    silence.dead(0, [_running(1, 5.0)])
    silence.dead(0, [])
    now += 100
    assert silence.dead(0, [_running(1, 5.0)]) == []


def test_studies_are_watched_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    silence = Silence(grace=60)
    silence.dead(0, [_running(1, 5.0)])
    silence.dead(7, [_running(2, 5.0)])
    now += 61
    assert silence.dead(0, [_running(1, 5.0)]) == [1]
