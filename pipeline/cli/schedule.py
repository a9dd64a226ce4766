"""Commands for tuning again and again: schedule-once, schedule-step, schedule-show."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import JsonOption, app
from pipeline.core.errors import Problem, SpaceError
from pipeline.core.printing import print_line
from pipeline.core.stores.urls import mask

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pipeline.display.progress import StudyProgress
    from pipeline.scheduling.run import ScheduledRun


def _warn_of_secrets(settings: list[str]) -> list[str]:
    for setting in settings:
        if mask(setting) != setting:
            name = setting.partition("=")[0]
            print_line(
                f"warning: while this runs, everybody on this machine can read the password in --set {name}. "
                "Give the address in $DNNTUNE_STORAGE or $DNNTUNE_TRACKING_URI instead",
                err=True,
            )
    return settings


ScheduleArgument = Annotated[Path, typer.Argument(metavar="SCHEDULE", help="A schedule file.")]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="KEY", help="The run's key: the same key resumes the same run; default: today."),
]
SettingsOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        callback=_warn_of_secrets,
        help="Override a setting of the schedule; repeatable.",
    ),
]


def _progress(metric: str) -> "AbstractContextManager[StudyProgress]":
    from pipeline.display.progress import StudyProgress

    return StudyProgress(metric)


@app.command(name="schedule-once")
def schedule_once(
    schedule: ScheduleArgument,
    run: RunOption = None,
    overrides: SettingsOption = [],  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
) -> None:
    """Run all steps of a schedule: check, tune, finalize, register, report, clean. For cron and CI."""
    from pipeline.scheduling.steps import run_chain

    results = run_chain(scheduled_run(schedule, run, overrides), log, _progress)
    if as_json:
        print_line(json.dumps(results))


@app.command(name="schedule-step")
def schedule_step(
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="check, prepare, worker, finalize, register, report, clean")
    ],
    schedule: ScheduleArgument,
    run: RunOption = None,
    overrides: SettingsOption = [],  # noqa: B006 - typer copies it
) -> None:
    """Run one step of a schedule, as Airflow's tasks do; end standard output with one line of JSON."""
    from pipeline.scheduling.steps import step_of

    do = step_of(step, _progress)
    print_line(json.dumps(do(scheduled_run(schedule, run, overrides), log)))


@app.command(name="schedule-show")
def schedule_show(
    schedules: Annotated[list[Path], typer.Argument(metavar="SCHEDULE...", help="Schedule files.")],
) -> None:
    """Check schedules and their spaces, and print the valid ones as JSON, one per line."""
    from pipeline.scheduling.file import load_schedule

    problems: list[Problem] = []
    for path in schedules:
        try:
            file = load_schedule(path)
            file.space()
        except SpaceError as error:
            problems += error.problems
        else:
            print_line(json.dumps({"name": file.name, **file.schedule.model_dump(mode="json")}))
    if problems:
        raise SpaceError(problems)


def scheduled_run(path: Path, key: str | None, overrides: list[str]) -> "ScheduledRun":
    """Returns a run of a schedule; without a key today's, in UTC."""
    from pipeline.scheduling.file import load_schedule
    from pipeline.scheduling.run import ScheduledRun

    file = load_schedule(path, overrides)
    return ScheduledRun(file, key or datetime.now(UTC).strftime("%Y-%m-%d"))


def log(line: str) -> None:
    """Prints a line for a person: standard output is for programs."""
    print_line(line, err=True)
