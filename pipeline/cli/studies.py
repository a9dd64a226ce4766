"""Commands about studies: run, resume, worker, best, leaderboard, studies."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    DataOption,
    DeviceOption,
    ExperimentOption,
    JsonOption,
    Launch,
    LauncherOption,
    RayAddressOption,
    SetOption,
    SpaceArgument,
    StorageOption,
    StudyArgument,
    StudyNameOption,
    ThreadsOption,
    TrackingOption,
    WorkersOption,
    WorkspaceOption,
    app,
    this_command,
)
from pipeline.core.commands import command
from pipeline.core.errors import DnntuneError, TrackingError
from pipeline.core.printing import say
from pipeline.core.workspace import Places

if TYPE_CHECKING:
    from pipeline.cli.display.progress import StudyProgress
    from pipeline.study.summary import StudySummary
    from pipeline.workers.launchers.launcher import Launcher


@app.command()
def run(
    space: SpaceArgument,
    trials: Annotated[int | None, typer.Option(help="The study's trials in all, over all runs.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which this run ends.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    retries: Annotated[
        int | None, typer.Option(help="Times that a trial whose process died is tried again; default: 2.")
    ] = None,
    trial_timeout: Annotated[float | None, typer.Option(help="Seconds that a trial may take; default: any.")] = None,
    trial_memory: Annotated[float | None, typer.Option(help="GiB that a trial's process may take.")] = None,
    study: StudyNameOption = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    launcher: LauncherOption = Launch.LOCAL,
    ray_address: RayAddressOption = None,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
    data_dir: DataOption = None,
) -> None:
    """Run a study, go on with it, or join it where it runs; then show the leaderboard."""
    from pipeline.space.files import load_space
    from pipeline.space.overrides import Override
    from pipeline.workers.run import run_study

    options = {
        "trials": trials,
        "timeout": timeout,
        "seed": seed,
        "retries": retries,
        "trial_timeout": trial_timeout,
        "trial_memory": trial_memory,
    }
    named = [
        Override(f"study.{name}", str(value), f"--{name.replace('_', '-')} {value}")
        for name, value in options.items()
        if value is not None
    ]
    if study is not None:
        named.append(Override("study.name", json.dumps(study, ensure_ascii=False), f"--study {study}"))
    file = load_space(space, [*map(Override.parse, overrides), *named])
    for notice in file.notices:
        say(notice, err=True)
    places = Places(workspace, storage, tracking_uri, experiment, data_dir)

    def start(watcher: "StudyProgress") -> "StudySummary":
        return run_study(
            file.space,
            file.study,
            name=file.name,
            places=places,
            workers=workers,
            threads=threads,
            device=device,
            watcher=watcher,
            launcher=chosen_launcher(launcher, ray_address, workers),
        )

    how = {"workers": workers, "threads": threads, "device": device, "launcher": launcher, "ray_address": ray_address}
    watch(
        start, places, metric=file.study.metric, again=lambda summary: going_on(summary, places, how), as_json=as_json
    )


@app.command()
def worker(
    study: StudyArgument,
    workers: WorkersOption = 1,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    launcher: LauncherOption = Launch.LOCAL,
    ray_address: RayAddressOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
    data_dir: DataOption = None,
) -> None:
    """Run trials of a study that exists, from any machine: it needs the storage and the data, and no space file."""
    from pipeline.study.studies import carried, open_study
    from pipeline.workers.run import join_study

    places = Places(workspace, storage, tracking_uri, experiment, data_dir)
    metric = carried(open_study(places, study))[1].metric

    def start(watcher: "StudyProgress") -> "StudySummary":
        return join_study(
            study,
            places=places,
            workers=workers,
            threads=threads,
            device=device,
            watcher=watcher,
            launcher=chosen_launcher(launcher, ray_address, workers),
        )

    watch(start, places, metric=metric, again=lambda summary: this_command(), as_json=as_json)


@app.command()
def resume(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(help="The study's trials in all, in place of what it has.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which this run ends.")] = None,
    retries: Annotated[int | None, typer.Option(help="Times that a trial whose process died is tried again.")] = None,
    trial_timeout: Annotated[float | None, typer.Option(help="Seconds that a trial may take.")] = None,
    trial_memory: Annotated[float | None, typer.Option(help="GiB that a trial's process may take.")] = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    launcher: LauncherOption = Launch.LOCAL,
    ray_address: RayAddressOption = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
    data_dir: DataOption = None,
) -> None:
    """Go on with a study as its storage has it, without its space file; options replace its settings."""
    from pipeline.study.studies import carried, open_study, with_options
    from pipeline.workers.run import run_study

    places = Places(workspace, storage, tracking_uri, experiment, data_dir)
    space, settings = carried(open_study(places, study))
    settings = with_options(
        settings,
        trials=trials,
        timeout=timeout,
        retries=retries,
        trial_timeout=trial_timeout,
        trial_memory=trial_memory,
    )

    def start(watcher: "StudyProgress") -> "StudySummary":
        return run_study(
            space,
            settings,
            name=study,
            places=places,
            workers=workers,
            threads=threads,
            device=device,
            watcher=watcher,
            launcher=chosen_launcher(launcher, ray_address, workers),
        )

    how = {"workers": workers, "threads": threads, "device": device, "launcher": launcher, "ray_address": ray_address}
    watch(start, places, metric=settings.metric, again=partial(going_on, places=places, how=how), as_json=as_json)


def going_on(summary: "StudySummary", places: Places, how: Mapping[str, object]) -> str:
    """Returns the command that goes on with a study: by its name, or the same one if nothing of it has run yet.

    Args:
        summary: How it stands.
        places: Where it is kept.
        how: Options that say what it runs on; those of a default are left out.
    """
    if not any(summary.trials.values()):
        return this_command()
    from pipeline.cli.display.console import OPTIONS

    defaults = {"device": "auto", "launcher": Launch.LOCAL}
    named = {name: value for name, value in how.items() if value != defaults.get(name)}
    return command("resume", summary.study, **named, **places.options(*OPTIONS))


def chosen_launcher(launcher: Launch, ray_address: str | None, workers: int) -> "Launcher | None":
    """Returns what starts workers; None for processes of this machine.

    Raises:
        DnntuneError: An address is given and no Ray asked for, or Ray cannot be used.
    """
    if launcher == Launch.RAY:
        from pipeline.workers.launchers.ray_launcher import RayLauncher

        return RayLauncher(ray_address, workers=workers)
    if ray_address is not None:
        raise DnntuneError(f"--ray-address {ray_address} needs --launcher ray; this run has --launcher {launcher}")
    return None


def watch(
    start: "Callable[[StudyProgress], StudySummary]",
    places: Places,
    *,
    metric: str,
    again: "Callable[[StudySummary], str]",
    as_json: bool,
) -> None:
    """Shows a study while it runs, and how it stands then.

    Args:
        start: Runs it.
        places: Where it is kept.
        metric: What it optimizes.
        again: Returns the command that goes on with it.
        as_json: Whether standard output ends with a line of JSON.
    """
    from pipeline.cli.display.console import outlook, print_leaderboard
    from pipeline.cli.display.progress import StudyProgress

    progress = StudyProgress(metric)
    try:
        summary = start(progress)
    finally:
        progress.close()
    if summary.best is None:
        say(f"study {summary.study} has no complete trial yet", err=True)
    else:
        print_leaderboard(summary.study, places, top=10, err=as_json)
    for line in outlook(summary, places, again(summary)):
        say(line, err=True)
    say_what_mlflow_lacks(summary, places)
    if as_json:
        say(json.dumps(summary.to_json()))
    if summary.interrupted:
        raise typer.Exit(130)


# The options that say where a study is, and where it is logged.
SYNC_OPTIONS = ("workspace", "storage", "tracking_uri", "experiment")


def say_what_mlflow_lacks(summary: "StudySummary", places: Places) -> None:
    """Says what of a study could not be logged, and what writes it later; nothing if all was."""
    if summary.tracking_error is not None:
        say(
            f"warning: {summary.tracking_error}. The study's results are safe; this writes the rest:\n"
            f"  {command('sync', summary.study, **places.options(*SYNC_OPTIONS))}",
            err=True,
        )


@app.command()
def sync(
    study: StudyArgument,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
) -> None:
    """Compare MLflow with a study's storage, trial by trial, and write what MLflow lacks."""
    from pipeline.tracking.sync import sync_study

    synced = sync_study(Places(workspace, storage, tracking_uri, experiment), study)
    for number, wrong in synced.found.items():
        say(f"trial {number}: {'; '.join(wrong)}", err=True)
    say(f"{synced.num_written} trials written{', and the study' if synced.study_written else ''}", err=True)
    if as_json:
        say(json.dumps(dataclasses.asdict(synced)))
    if synced.left:
        raise TrackingError(f"MLflow still disagrees with the storage of study {study}: {synced.left}")


@app.command()
def best(
    study: StudyArgument,
    within: Annotated[
        float | None, typer.Option(min=0.0, help="With --prefer: how much worse than the best, by the first metric.")
    ] = None,
    prefer: Annotated[
        str | None, typer.Option(help="With --within: the figure to choose by, a metric or num_parameters.")
    ] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="This trial's configuration, and not the best one.")] = None,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
) -> None:
    """Print the configuration that finalize chose, else the best trial's, or a nearly best one: for train and run."""
    from pipeline.study.choice import choose
    from pipeline.study.studies import open_study
    from pipeline.study.summary import config_text

    choice = choose(open_study(Places(workspace, storage), study), within=within, prefer=prefer, trial=trial)
    for line in choice.reasons:
        say(f"# {line}")
    say(config_text(choice.config), end="")


@app.command()
def leaderboard(
    study: StudyArgument,
    top: Annotated[int, typer.Option(min=1, help="Trials to show.")] = 10,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
) -> None:
    """Show the best trials of a study, and what differs between them."""
    from pipeline.cli.display.console import print_leaderboard

    print_leaderboard(study, Places(workspace, storage), top=top, err=False)


@app.command()
def studies(
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
) -> None:
    """List the studies in a storage."""
    from pipeline.cli.display.console import wide_console
    from pipeline.cli.display.study_list import study_list

    wide_console().print(study_list(Places(workspace, storage)))
