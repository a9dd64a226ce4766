from pathlib import Path

import pytest

from pipeline.errors import SpaceError
from pipeline.schedule.file import load_schedule


def cron_of(folder: Path, text: str) -> str | None:
    file = folder / "nightly.yaml"
    file.write_text(f"space: digits_mlp\ncron: '{text}'\n")
    return load_schedule(file).schedule.cron


@pytest.mark.parametrize(
    "text", ["0 3 * * 1", "*/15 8-18 1,15 jan-jun MON", "59 23 31 12 7", "0-30/5 * * * *", "@monthly"]
)
def test_a_time_that_airflow_and_cron_can_read(tmp_path: Path, text: str) -> None:
    assert cron_of(tmp_path, text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("60 3 * * 1", "the minute must be *, or 0 to 59, such as 0,59 or 0-59; got 60"),
        ("0 3-24 * * 1", "the hour must be"),
        ("0 3 0 * *", "the day must be"),
        ("0 3 * monday *", "the month must be"),
        ("0 3 * * 1,8", "the weekday must be"),
        ("*/0 3 * * *", "the minute must be"),
        ("0 3  * * 1", "five fields"),
        ("@fortnightly", "five fields"),
    ],
)
def test_a_time_that_never_comes_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpaceError, match=r"nightly.yaml:2: cron") as caught:
        cron_of(tmp_path, text)
    assert said in str(caught.value)
