"""The command line: words, and nothing else. What a command needs is imported when it runs, so that help is instant."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.errors import DnntuneError
from pipeline.places import Places

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SpaceArgument = Annotated[
    str, typer.Argument(metavar="SPACE", help="A search-space file, a name in search_spaces/, or - (standard input).")
]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Override a setting, the value in YAML; repeatable.")
]
WorkspaceOption = Annotated[Path, typer.Option(help="Folder for everything that a run makes.")]
StorageOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Optuna storage; default: SQLite in the workspace.")
]
TrackingOption = Annotated[
    str | None, typer.Option(metavar="URI", help="MLflow tracking store; default: SQLite in the workspace.")
]
ExperimentOption = Annotated[str, typer.Option(help="MLflow experiment.")]
DataOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder to look for data sets in first; then $DNNTUNE_DATA.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of each process; default: the cores, shared.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End standard output with one line of JSON.")]


@app.command()
def run(
    space: SpaceArgument,
    trials: Annotated[int | None, typer.Option(help="The study's trials in all, over all runs.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which this run ends.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    study: Annotated[str | None, typer.Option(help="The study's name; default: the file's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
    data_dir: DataOption = None,
) -> None:
    """Run a study, or go on with it, and show the leaderboard."""
    from pipeline.console import outlook, print_leaderboard
    from pipeline.overrides import Override
    from pipeline.progress import StudyProgress
    from pipeline.space_file import load_space
    from pipeline.study.run import run_study

    options = {"trials": trials, "timeout": timeout, "seed": seed, "name": study}
    named = [
        Override(f"study.{name}", str(value), f"--{'study' if name == 'name' else name} {value}")
        for name, value in options.items()
        if value is not None
    ]
    file = load_space(space, [*map(Override.parse, overrides), *named])
    for notice in file.notices:
        typer.echo(notice, err=True)
    places = Places(workspace, storage, tracking_uri, experiment, data_dir)
    progress = StudyProgress(file.study.metric)
    try:
        summary = run_study(
            file.space,
            file.study,
            name=file.name,
            places=places,
            workers=workers,
            threads=threads,
            device=device,
            watcher=progress,
        )
    finally:
        progress.close()
    if summary.best is None:
        typer.echo(f"study {file.name} has no complete trial yet", err=True)
    else:
        print_leaderboard(file.name, places, top=10, err=as_json)
    for line in outlook(summary, workspace, space):
        typer.echo(line, err=True)
    if summary.tracking_error is not None:
        typer.echo(f"warning: logging to MLflow stopped: {summary.tracking_error}", err=True)
    if as_json:
        typer.echo(json.dumps(summary.to_json()))
    if summary.interrupted:
        raise typer.Exit(130)


@app.command()
def train(
    config: SpaceArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one configuration, and measure it on the test set."""
    from pipeline.overrides import Override
    from pipeline.space_file import load_configuration

    trial = load_configuration(config, [Override.parse(option) for option in overrides])
    from pipeline.console import EPOCH_HEAD, echo, epoch_line, figure_lines
    from pipeline.results.train_report import train_and_test

    say = echo(err=as_json)
    say(EPOCH_HEAD)
    figures = train_and_test(
        trial, data_dir=data_dir, device=device, threads=threads, show=lambda epoch: say(epoch_line(epoch))
    )
    for line in figure_lines(figures):
        say(line)
    if as_json:
        typer.echo(json.dumps(figures))


@app.command()
def check(
    space: SpaceArgument,
    sample: Annotated[int, typer.Option(min=0, help="Configurations to draw and print.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
) -> None:
    """Check a search space, and print it as a table."""
    from pipeline.console import wide_console
    from pipeline.overrides import Override
    from pipeline.results.space_table import space_table
    from pipeline.space_file import load_space, sample_configurations

    file = load_space(space, [Override.parse(option) for option in overrides])
    for notice in file.notices:
        typer.echo(notice, err=True)
    wide_console(err=bool(sample)).print(space_table(file.name, file.space))
    for text in sample_configurations(file.space, sample, seed):
        typer.echo(f"---\n{text}", nl=False)


@app.command()
def best(
    study: StudyArgument,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
) -> None:
    """Print a study's best configuration, a file that train and run accept."""
    from pipeline.study.studies import open_study
    from pipeline.study.summary import best_of, config_text

    loaded = open_study(Places(workspace, storage), study)
    found = best_of(loaded)
    if found is None:
        raise DnntuneError(f"study {study} has no complete trial yet")
    typer.echo(f"# study {study}, trial {found.number}: {loaded.user_attrs['metric']} {found.value:.4f}")
    typer.echo(config_text(found.config), nl=False)


@app.command()
def leaderboard(
    study: StudyArgument,
    top: Annotated[int, typer.Option(min=1, help="Trials to show.")] = 10,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
) -> None:
    """Show the best trials of a study, and what differs between them."""
    from pipeline.console import print_leaderboard

    print_leaderboard(study, Places(workspace, storage), top=top, err=False)


@app.command()
def studies(
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
) -> None:
    """List the studies in a storage."""
    from pipeline.console import wide_console
    from pipeline.results.study_list import study_list

    wide_console().print(study_list(Places(workspace, storage)))


@app.command()
def ui(
    workspace: WorkspaceOption = Path("runs"),
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
    port: Annotated[int, typer.Option(help="Port of the page on this machine.")] = 5000,
) -> None:
    """Open MLflow's page on the right store; prints the address of each study's comparison."""
    from pipeline.tracking.page import serve

    serve(Places(workspace, None, tracking_uri, experiment), port, say=typer.echo)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Tune image classifiers with Optuna and PyTorch; every trial in MLflow."""
    if show:
        typer.echo(f"dnntune {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; a user's mistake ends it with a message and a code, without a traceback."""
    try:
        app()
    except DnntuneError as error:
        typer.echo(f"dnntune: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
