from datetime import datetime
from pathlib import Path
from random import Random

import pytest
from croniter import croniter
from cronsim import CronSim
from pydantic import ValidationError

from pipeline.core.errors import SpaceError
from pipeline.scheduling.config import Schedule
from pipeline.scheduling.file import load_schedule


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
        ("60 3 * * 1", "must be a time that comes: Bad minute. Write five fields, minute hour day month weekday"),
        ("61 * * * *", "Bad minute"),
        ("0 3-24 * * 1", "Bad hour"),
        ("0 5-3 * * *", "Bad hour"),
        ("0 3 0 * *", "Bad day-of-month"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 0 31 4,6 *", "Bad day-of-month"),
        ("0 3 * monday *", "Bad month"),
        ("0 3 * * 1,8", "Bad day-of-week"),
        ("*/0 * * * *", "Bad minute"),
        ("*/99 * * * *", "a step of the minute must be below 60; got */99. Lower it"),
        ("0 */24 * * *", "a step of the hour must be below 24"),
        ("0-30/70 * * * *", "a step of the minute"),
        ("0 9-9 * * *", "cron and Airflow read it differently"),
        ("0 3 */2 * 1", "cron and Airflow read it differently"),
        ("0 0 * * 5L", "must be a time that comes"),
        ("9" * 150 + " * * * *", "Bad minute"),
        ("0 3  * * 1", "five fields"),
        ("*/99", "five fields"),
        ("* * * * * *", "five fields"),
        ("@fortnightly", "five fields"),
        ("0 0 1 1 " + "1," * 3000 + "1", "five fields"),
        ("", "five fields"),
    ],
)
def test_a_time_that_never_comes_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpaceError, match=r"nightly.yaml:2: cron") as caught:
        cron_of(tmp_path, text)
    assert said in str(caught.value)


def random_field(random: Random, low: int, high: int) -> str:
    ends = [str(random.randint(low - 1, high + 1)) for _ in range(3)]
    step = random.choice(["", f"/{random.randint(0, high + 3)}"])
    return random.choice(["*", "*", f"*{step}", ends[0], f"{ends[0]}-{ends[1]}{step}", f"{ends[0]},{ends[2]}"])


def test_what_is_accepted_comes_when_airflow_says() -> None:
    """Airflow reads times with croniter."""
    random, num_accepted = Random(0), 0
    for _ in range(300):
        ranges = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
        fields = [random_field(random, *ends) for ends in ranges]
        text = " ".join(fields)
        try:
            Schedule(space="digits_mlp", cron=text)
        except ValidationError:
            continue
        num_accepted += 1
        start = datetime(2026, random.randint(1, 12), 1)
        airflows = croniter(text, start, ret_type=datetime)
        ours = CronSim(text, start)
        assert [next(ours) for _ in range(5)] == [next(airflows) for _ in range(5)]
    assert num_accepted > 20
