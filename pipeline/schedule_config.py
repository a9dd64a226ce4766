"""A schedule: what is tuned again and again, how much it may cost, and what becomes of the result.

A file in `dags/schedules` is one mapping of these settings.
"""

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline.core.names import Name, PlainName
from pipeline.core.urls import StoreUrl
from pipeline.training_config import Block, tuple_from_list

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
Texts = Annotated[tuple[str, ...], tuple_from_list]


# Of each of cron's five fields: its name, the smallest and largest number, and words that stand for numbers.
CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("weekday", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
CRON_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?")


def _is_cron(text: str) -> str:
    fields = text.split(" ")
    if text in PRESETS:
        return text
    if len(fields) != len(CRON_FIELDS):
        raise ValueError(
            f"must be five fields (minute hour day month weekday, such as '0 3 * * 1') or one of {', '.join(PRESETS)}"
        )
    for field, (name, low, high, words) in zip(fields, CRON_FIELDS, strict=True):
        numbers = {str(number) for number in range(low, high + 1)}
        for part in field.split(","):
            found = CRON_PART.fullmatch(part.lower())
            if found is None or any(end not in {*numbers, *words, None} for end in found.group(1, 2)):
                raise ValueError(
                    f"the {name} must be *, or {low} to {high}, such as {low},{high} or {low}-{high}; got {field}"
                )
    return text


def _is_uri(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[!-~]+", text):
        raise ValueError("must be a URI of ASCII characters without spaces, such as s3://bucket/images")
    return text


class Finals(Block):
    """The last round of a study, see `dnntune finalize`."""

    top: PositiveInt = 5
    """Best configurations that are trained again."""
    seeds: PositiveInt = 5
    """Trainings of each."""
    refit: bool = False
    """Whether the chosen one is also trained on training and validation images together."""


class WarmStart(Block):
    """What a study begins with: the best configurations of the schedule's last studies, where its space has them."""

    studies: NonNegativeInt = 3
    """How many of the last studies are looked at; 0: none."""
    configurations: PositiveInt = 5
    """How many configurations at most, the best of each study in turn."""


class Retention(Block):
    """How long what old studies have left in the workspace is kept: checkpoints, models, cached features. Exports,
    reports, studies and MLflow's runs are never removed.
    """

    studies: PositiveInt = 5
    """The schedule's last so many studies keep everything."""
    days: NonNegativeFloat = 30.0
    """And so do all that ended fewer than so many days ago; also what was read from the feature cache since then."""


class Schedule(Block):
    """What is tuned, when, and what becomes of it."""

    cron: Annotated[str, AfterValidator(_is_cron)] | None = None
    """When: five fields of cron, in UTC, or @daily and the like; null: by hand, or by `asset`."""
    asset: Annotated[str, AfterValidator(_is_uri)] | None = None
    """An Airflow asset by its URI: a run begins when another DAG has updated it. Excludes `cron`."""
    space: str
    """The search space: a file, looked up beside this one first, or a name in search_spaces/."""
    set: Texts = ()
    """Settings in place of the space's, each as `path=value`, as the command line's --set."""
    trials: PositiveInt | None = None
    """Trials of a study; null: as the space says."""
    timeout: PositiveFloat | None = None
    """Seconds after which each worker takes no more trials; null: as the space says."""
    workers: PositiveInt = 1
    """Worker tasks at once."""
    threads: PositiveInt | None = None
    """Threads of each; null: the cores, shared."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    finals: Finals = Finals()
    """The last round."""
    champion: PlainName | None = None
    """The registered model in MLflow that the result challenges; null: nothing is registered."""
    warm_start: WarmStart = WarmStart()
    """What a study begins with."""
    retention: Retention = Retention()
    """What is removed afterwards."""
    workspace: str = "runs"
    """Folder for everything that a run makes; shared by all machines that take part."""
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
            raise ValueError("asset: a schedule begins by cron or by an asset; got both. Drop one")
        return self
