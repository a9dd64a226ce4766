"""Commands about studies that are there: sync, best, leaderboard, trials, studies."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from pipeline.cli.groups import grouped
from pipeline.cli.options import (
    CsvOption,
    JsonOption,
    LoggedWorkspace,
    RowsJsonOption,
    StudyArgument,
    StudyWorkspace,
    app,
)
from pipeline.core.errors import DnntuneError, TrackingError
from pipeline.core.printing import print_line
from pipeline.core.text import csv_text


@app.command()
@grouped
def sync(
    study: StudyArgument,
    as_json: JsonOption = False,
    *,
    workspace: LoggedWorkspace,
) -> None:
    """Compare MLflow with a study's storage, trial by trial, and write what MLflow lacks."""
    from pipeline.tracking.sync import sync_study

    synced = sync_study(workspace, study)
    for number, wrong in synced.found.items():
        print_line(f"trial {number}: {'; '.join(wrong)}", err=True)
    print_line(f"{synced.num_written} trials written{', and the study' if synced.study_written else ''}", err=True)
    if as_json:
        print_line(json.dumps(dataclasses.asdict(synced)))
    if synced.left:
        raise TrackingError(f"MLflow still disagrees with the storage of study {study}: {synced.left}")


@app.command()
@grouped
def best(
    study: StudyArgument,
    within: Annotated[
        float | None,
        typer.Option(min=0.0, help="With --prefer: how much worse than the best it may be, by the first metric."),
    ] = None,
    prefer: Annotated[
        str | None, typer.Option(help="With --within: the metric to choose by, or num_parameters.")
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Print this trial's configuration instead of the best.")
    ] = None,
    *,
    workspace: StudyWorkspace,
) -> None:
    """Print the configuration that finalize chose, or the best trial's, as a file for train and run."""
    from pipeline.study.selected_trial import select_trial
    from pipeline.study.studies import open_study
    from pipeline.study.summary import config_text

    selected = select_trial(open_study(workspace, study), within=within, prefer=prefer, trial=trial)
    for line in selected.reasons:
        print_line(f"# {line}")
    print_line(config_text(selected.config), end="")


@app.command()
@grouped
def leaderboard(
    study: StudyArgument,
    top: Annotated[int, typer.Option(min=1, help="How many trials to show.")] = 10,
    as_csv: CsvOption = False,
    as_json: RowsJsonOption = False,
    *,
    workspace: StudyWorkspace,
) -> None:
    """Show the best trials of a study, and their differences."""
    from pipeline.display.console import print_leaderboard
    from pipeline.study.rows import leaderboard_rows
    from pipeline.study.studies import open_study

    if as_csv or as_json:
        print_rows(leaderboard_rows(open_study(workspace, study), top), as_csv=as_csv, as_json=as_json)
    else:
        print_leaderboard(study, workspace, top=top, err=False)


@app.command()
@grouped
def trials(
    study: StudyArgument,
    as_csv: CsvOption = False,
    as_json: RowsJsonOption = False,
    *,
    workspace: StudyWorkspace,
) -> None:
    """Write all trials of a study: parameters, metrics, times, and what became of each."""
    from pipeline.study.rows import trial_rows
    from pipeline.study.studies import open_study

    print_rows(trial_rows(open_study(workspace, study)), as_csv=as_csv or not as_json, as_json=as_json)


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_csv: bool, as_json: bool) -> None:
    """Prints rows of plain values, all with the same columns, as CSV with a head, or as a line of JSON.

    Raises:
        DnntuneError: Both are asked for.
    """
    if as_csv and as_json:
        raise DnntuneError("--csv and --json exclude each other: leave one out")
    print_line(csv_text(rows) if as_csv else json.dumps(rows), end="" if as_csv else "\n")


@app.command()
@grouped
def studies(
    *,
    workspace: StudyWorkspace,
) -> None:
    """List the studies in a storage."""
    from pipeline.display.console import wide_console
    from pipeline.display.study_list import study_list

    wide_console().print(study_list(workspace))
