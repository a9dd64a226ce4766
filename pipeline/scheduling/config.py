"""A schedule: what is tuned again and again, how much it may cost, and what becomes of the result.

A file in `dags/schedules` is one mapping of these settings.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Self

from croniter import CroniterError, croniter
from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline.config.kinds import Block
from pipeline.config.training import tuple_from_list
from pipeline.core.names import Name, PlainName
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.text import shortened

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
MAX_CRON = 200
# Where two readings of a text are compared: different days of the week, of the month and of the year.
COMPARED_DAYS = [datetime(2000, 1, 1) + timedelta(days=37, hours=5) * count for count in range(60)]
Texts = Annotated[tuple[str, ...], tuple_from_list]


# Of each of cron's five fields: its name, and how many numbers it has.
CRON_FIELDS = {"minute": 60, "hour": 24, "day": 31, "month": 12, "weekday": 7}
FIVE_FIELDS = "five fields, minute hour day month weekday, such as '0 3 * * 1'"


def _is_cron(text: str) -> str:
    """Refuses what cron or Airflow cannot read, what they read differently, and times that never come."""
    if text in PRESETS:
        return text
    fields = text.split(" ")
    if len(fields) != len(CRON_FIELDS) or len(text) > MAX_CRON:
        raise ValueError(f"must be {FIVE_FIELDS}, or one of {', '.join(PRESETS)}")
    for field, (name, size) in zip(fields, CRON_FIELDS.items(), strict=True):
        for step in re.findall(r"/(\d+)", field):
            if int(step) >= size:  # counting begins anew in each hour, day, ...: the first number alone would be left
                raise ValueError(f"a step of the {name} must be below {size}; got {field}. Lower it")
    try:
        differs = any(next(CronSim(text, day)) != next(croniter(text, day, ret_type=datetime)) for day in COMPARED_DAYS)
    except (CronSimError, CroniterError, ValueError) as error:  # ValueError: thousands of digits
        raise ValueError(f"must be a time that comes: {shortened(str(error), 100)}. Write {FIVE_FIELDS}") from None
    if differs:
        raise ValueError(
            "cron and Airflow read it differently, as happens with a range of one value (9-9: write 9) and with a step "
            "of days or weekdays where both are given (name the days)"
        )
    return text


def _is_uri(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[!-~]+", text):
        raise ValueError("must be a URI of ASCII characters without spaces, such as s3://bucket/images")
    return text


class Finals(Block):
    """How to finalize the study, see `dnntune finalize`."""

    top: PositiveInt = 5
    """How many of the best configurations to train again."""
    seeds: PositiveInt = 5
    """How many new seeds to train each with."""
    refit: bool = False
    """Whether to also train the chosen one on training and validation images together."""


class WarmStart(Block):
    """Start a study with the best configurations of the schedule's last studies, as far as its space contains them."""

    studies: NonNegativeInt = 3
    """How many of the last studies to use; 0: none."""
    configurations: PositiveInt = 5
    """The largest number of configurations, taken from the best of each study in turn."""


class Retention(Block):
    """How long what old studies have left in the workspace is kept: checkpoints, models, cached features. Exports,
    reports, studies and MLflow's runs are never removed.
    """

    studies: PositiveInt = 5
    """The schedule's last so many studies keep everything."""
    days: NonNegativeFloat = 30.0
    """And so do all that ended fewer than so many days ago; also what was read from the feature cache since then."""


class Schedule(Block):
    """What to tune, when, and what to do with the result."""

    cron: Annotated[str, AfterValidator(_is_cron)] | None = None
    """When to run: five fields of cron, in UTC, or @daily and the like; null: by hand, or by `asset`."""
    asset: Annotated[str, AfterValidator(_is_uri)] | None = None
    """URI of an Airflow asset: a run starts when another DAG updates it. Excludes `cron`."""
    space: str
    """The search space: a file, looked up beside this one first, or a name in search_spaces/."""
    set: Texts = ()
    """Settings that override those of the space, each as `path=value`, like --set."""
    plugins: Texts = ()
    """Plug-ins to load: Python files, looked up beside this one first, and modules; like --plugin."""
    trials: PositiveInt | None = None
    """Number of trials of each study; null: as the space says."""
    timeout: PositiveFloat | None = None
    """Seconds after which each worker takes no more trials; null: as the space says."""
    workers: PositiveInt = 1
    """Number of workers."""
    threads: PositiveInt | None = None
    """Threads of each worker; null: an equal share of the cores."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    finals: Finals = Finals()
    """How to finalize the study."""
    champion: PlainName | None = None
    """The registered model in MLflow that the result challenges; null: register nothing."""
    warm_start: WarmStart = WarmStart()
    """Configurations of earlier studies to start with."""
    retention: Retention = Retention()
    """How long to keep the files of old studies."""
    workspace: str = "runs"
    """Folder for everything that a run writes; all machines that take part must share it."""
    storage: Annotated[str, AfterValidator(StoreUrl)] | None = None
    """Optuna storage; null: $DNNTUNE_STORAGE, or SQLite in the workspace."""
    tracking_uri: Annotated[str, AfterValidator(StoreUrl)] | None = None
    """MLflow's tracking store; null: $DNNTUNE_TRACKING_URI, $MLFLOW_TRACKING_URI, or SQLite in the workspace."""
    experiment: Name = "dnntune"
    """MLflow's experiment."""
    data_dir: str | None = None
    """Folder in which data sets are looked for first."""

    @model_validator(mode="after")
    def _begins_in_one_way(self) -> Self:
        if self.cron is not None and self.asset is not None:
            raise ValueError("asset: a schedule starts by cron or by an asset; got both. Drop one")
        return self
