"""The application, and the options that several commands have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer._click.globals import get_current_context

from pipeline.cli.ending import Commands
from pipeline.core.commands import command
from pipeline.core.names import broken_plain_rule, check_name
from pipeline.core.printing import say
from pipeline.core.urls import StoreUrl
from pipeline.core.workspace import STORAGE_VARIABLES, TRACKING_VARIABLES

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _study_name(text: str) -> str:
    return check_name(text, "a study")


def _experiment_name(text: str) -> str:
    return check_name(text, "an experiment")


def _model_name(text: str) -> str:
    return check_name(text, "a registered model", broken_plain_rule)


def _export_folder(text: str) -> Path:
    check_name(Path(text).name, "an export's folder")
    return Path(text)


def _warn_of_secret(context: typer.Context, parameter: typer.CallbackParam, value: StoreUrl | None) -> StoreUrl | None:
    """Says how to keep a password from others, if there is one in the arguments."""
    assert parameter.name is not None
    source = context.get_parameter_source(parameter.name)
    if value is not None and value.has_secret and source is not None and source.name == "COMMANDLINE":
        assert isinstance(parameter.envvar, list)
        say(
            f"warning: while this runs, everybody on this machine can read the password of {parameter.opts[0]}. "
            f"Give the address in ${parameter.envvar[0]} instead",
            err=True,
        )
    return value


def this_command() -> str:
    """Returns the command that runs, as it may be typed again: what was typed, but for addresses with secrets."""
    context = get_current_context()
    words: list[object] = []
    options: dict[str, object] = {}
    for parameter in context.command.params:
        assert parameter.name is not None
        source, value = context.get_parameter_source(parameter.name), context.params.get(parameter.name)
        if source is None or source.name != "COMMANDLINE" or (isinstance(value, StoreUrl) and value.has_secret):
            continue
        if parameter.param_type_name == "argument":
            words += value if isinstance(value, list | tuple) else [value]
        else:
            options[parameter.opts[0].removeprefix("--")] = value
    assert context.info_name is not None
    return command(context.info_name, *words, **options)


class Launch(StrEnum):
    """Where workers run."""

    LOCAL = "local"
    RAY = "ray"


SpaceArgument = Annotated[
    str, typer.Argument(metavar="SPACE", help="A search-space file, a name in search_spaces/, or - (standard input).")
]
ConfigArgument = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="A file with nothing left to search, a name in search_spaces/, or - (stdin)."
    ),
]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", parser=_study_name, help="A study's name.")]
StudiesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY", parser=_study_name, help="Studies to show in one view; none: each alone."),
]
ModelNameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", parser=_model_name, help="The registered model's name.")
]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Override a setting, the value in YAML; repeatable.")
]
WorkspaceOption = Annotated[Path, typer.Option(help="Folder for everything that a run makes.")]
StorageOption = Annotated[
    StoreUrl | None,
    typer.Option(
        metavar="URL",
        parser=StoreUrl,
        envvar=list(STORAGE_VARIABLES),
        callback=_warn_of_secret,
        help="Optuna storage; default: SQLite in the workspace.",
    ),
]
TrackingOption = Annotated[
    StoreUrl | None,
    typer.Option(
        metavar="URI",
        parser=StoreUrl,
        envvar=list(TRACKING_VARIABLES),
        callback=_warn_of_secret,
        help="MLflow tracking store; default: SQLite in the workspace.",
    ),
]
ExperimentOption = Annotated[str, typer.Option(metavar="NAME", parser=_experiment_name, help="MLflow experiment.")]
DataOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder to look for data sets in first; then $DNNTUNE_DATA.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of each process; default: the cores, shared.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End standard output with one line of JSON.")]
StudyNameOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", parser=_study_name, help="The study's name; default: from the file's."),
]
ExportOption = Annotated[
    Path | None,
    typer.Option(
        "--export", metavar="DIR", parser=_export_folder, help="Export the model to a new folder, for dnntune predict."
    ),
]
OutFolderOption = Annotated[Path, typer.Option("--out", metavar="DIR", parser=_export_folder, help="A new folder.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Worker processes.")]
LauncherOption = Annotated[
    Launch, typer.Option(help="Where workers run: processes of this machine, or tasks of a Ray cluster.")
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A running Ray cluster (auto: this machine's); default: one is started here."),
]
FigureOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the figure goes (.png, .svg, .pdf); default: the workspace.")
]
