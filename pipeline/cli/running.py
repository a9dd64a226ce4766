"""Commands that run a study: run, worker, resume."""

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import (
    JsonOption,
    NewOptions,
    Overrides,
    SpaceArgument,
    StudyArgument,
    StudyNameOption,
    StudyOptions,
    WholeWorkspace,
    WorkerCompute,
    app,
    this_command,
)
from pipeline.core.commands import command
from pipeline.core.compute import Compute
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.study.summary import StudySummary


@app.command()
@grouped
def run(
    space: SpaceArgument,
    *,
    options: Annotated[StudyOptions, group(StudyOptions)],
    study: StudyNameOption = None,
    compute: WorkerCompute,
    overrides: Overrides,
    as_json: JsonOption = False,
    workspace: WholeWorkspace,
) -> None:
    """Run, resume or join a study; then show the leaderboard."""
    from pipeline.space.files import load_space
    from pipeline.space.overrides import Override
    from pipeline.workers.run import run_study

    named = [
        Override(f"study.{name}", str(value), f"--{name.replace('_', '-')} {value}")
        for name, value in options.given().items()
    ]
    if study is not None:
        named.append(Override("study.name", json.dumps(study, ensure_ascii=False), f"--study {study}"))
    file = load_space(space, [*overrides, *named])
    for notice in file.notices:
        print_line(notice, err=True)
    start = partial(run_study, file.space, file.study, name=file.name, workspace=workspace, compute=compute)
    again = partial(resume_command, workspace=workspace, compute=compute)
    watch(start, workspace, metric=file.study.metric, again=again, as_json=as_json)


@app.command()
@grouped
def worker(
    study: StudyArgument, *, compute: WorkerCompute, as_json: JsonOption = False, workspace: WholeWorkspace
) -> None:
    """Run trials of an existing study, from any machine; needs the storage and the data, but no space file."""
    from pipeline.study.studies import open_study, stored_definition
    from pipeline.workers.run import join_study

    metric = stored_definition(open_study(workspace, study))[1].metric
    start = partial(join_study, study, workspace=workspace, compute=compute)
    watch(start, workspace, metric=metric, again=lambda summary: this_command(), as_json=as_json)


@app.command()
@grouped
def resume(
    study: StudyArgument,
    *,
    options: Annotated[NewOptions, group(NewOptions, "trials", "timeout", "retries", "trial_timeout", "trial_memory")],
    compute: WorkerCompute,
    as_json: JsonOption = False,
    workspace: WholeWorkspace,
) -> None:
    """Resume a study without its space file; options replace its settings."""
    from pipeline.study.studies import open_study, stored_definition, with_options
    from pipeline.workers.run import run_study

    space, settings = stored_definition(open_study(workspace, study))
    settings = with_options(settings, **options.given())
    start = partial(run_study, space, settings, name=study, workspace=workspace, compute=compute)
    again = partial(resume_command, workspace=workspace, compute=compute)
    watch(start, workspace, metric=settings.metric, again=again, as_json=as_json)


def resume_command(summary: "StudySummary", workspace: Workspace, compute: Compute) -> str:
    """Returns the command that goes on with a study: by its name, or the same one if nothing of it has run yet.

    Args:
        summary: How it stands.
        workspace: Where it is kept.
        compute: What it runs on.
    """
    if not any(summary.trials.values()):
        return this_command()
    from pipeline.display.console import OPTIONS
    from pipeline.plugins.loading import plugin_names

    return command("resume", summary.study, **compute.options(), **workspace.options(*OPTIONS), plugin=plugin_names())


def watch(
    start: "Callable[..., StudySummary]",
    workspace: Workspace,
    *,
    metric: str,
    again: "Callable[[StudySummary], str]",
    as_json: bool,
) -> None:
    """Shows a study while it runs, and how it stands then.

    Args:
        start: Runs it, and tells its progress.
        workspace: Where it is kept.
        metric: What it optimizes.
        again: Returns the command that goes on with it.
        as_json: Whether standard output ends with a line of JSON.
    """
    from pipeline.display.console import outlook, print_leaderboard
    from pipeline.display.progress import StudyProgress

    with StudyProgress(metric) as progress:
        summary = start(observer=progress)
    if summary.best is None:
        print_line(f"study {summary.study} has no complete trial yet", err=True)
    else:
        print_leaderboard(summary.study, workspace, top=10, err=as_json)
    for line in outlook(summary, workspace, again(summary)):
        print_line(line, err=True)
    say_what_mlflow_lacks(summary, workspace)
    if as_json:
        print_line(json.dumps(summary.to_json()))
    if summary.interrupted:
        raise typer.Exit(130)


# The options that say where a study is, and where it is logged.
SYNC_OPTIONS = ("workspace", "storage", "tracking_uri", "experiment")


def say_what_mlflow_lacks(summary: "StudySummary", workspace: Workspace) -> None:
    """Says what of a study could not be logged, and what writes it later; nothing if all was."""
    if summary.tracking_error is not None:
        print_line(
            f"warning: {summary.tracking_error}. The study's results are safe; this writes the rest:\n"
            f"  {command('sync', summary.study, **workspace.options(*SYNC_OPTIONS))}",
            err=True,
        )
