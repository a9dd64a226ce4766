"""The application, and the options that several commands have."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer._click.globals import get_current_context

from pipeline.cli.error_handling import Commands
from pipeline.cli.groups import group
from pipeline.core.commands import command
from pipeline.core.compute import Compute, Launch
from pipeline.core.names import broken_plain_rule, check_name
from pipeline.core.printing import print_line
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import STORAGE_VARIABLES, TRACKING_VARIABLES, Workspace

if TYPE_CHECKING:
    from pipeline.space.overrides import Override

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
        print_line(
            f"warning: everybody on this machine can read the password in {parameter.opts[0]} while this runs. "
            f"Set ${parameter.envvar[0]} instead",
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


SpaceArgument = Annotated[
    str, typer.Argument(metavar="SPACE", help="A search-space file, a name in search_spaces/, or - for standard input.")
]
ConfigArgument = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="A configuration file, a name in search_spaces/, or - for standard input."),
]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", parser=_study_name, help="A study's name.")]
StudiesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STUDY", parser=_study_name, help="Studies to compare in one view; default: one view for each study."
    ),
]
ModelNameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", parser=_model_name, help="The registered model's name.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="End standard output with one line of JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV, with a head.")]
RowsJsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON, a list.")]
StudyNameOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", parser=_study_name, help="The study's name; default: the file's name."),
]
ExportOption = Annotated[
    Path | None,
    typer.Option("--export", metavar="DIR", parser=_export_folder, help="Export the model to a new folder."),
]
OutFolderOption = Annotated[Path, typer.Option("--out", metavar="DIR", parser=_export_folder, help="A new folder.")]
FigureOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File for the figure (.png, .svg, .pdf); default: in the workspace.")
]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")]


def workspace_of(
    workspace: Annotated[Path, typer.Option("--workspace", help="Folder for everything that dnntune writes.")] = Path(
        "runs"
    ),
    storage: Annotated[
        StoreUrl | None,
        typer.Option(
            metavar="URL",
            parser=StoreUrl,
            envvar=list(STORAGE_VARIABLES),
            callback=_warn_of_secret,
            help="Optuna storage; default: SQLite in the workspace.",
        ),
    ] = None,
    tracking_uri: Annotated[
        StoreUrl | None,
        typer.Option(
            metavar="URI",
            parser=StoreUrl,
            envvar=list(TRACKING_VARIABLES),
            callback=_warn_of_secret,
            help="MLflow tracking store; default: SQLite in the workspace.",
        ),
    ] = None,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", parser=_experiment_name, help="MLflow experiment.")
    ] = "dnntune",
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder to search for data sets first, before $DNNTUNE_DATA.")
    ] = None,
) -> Workspace:
    """Returns where things are kept."""
    return Workspace(workspace, storage, tracking_uri, experiment, data_dir)


def compute_of(
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each process; default: an equal share of the cores.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    launcher: Annotated[
        Launch, typer.Option(help="Run workers as processes of this machine, or as tasks of a Ray cluster.")
    ] = Launch.LOCAL,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="A running Ray cluster (auto: the one on this machine); default: start one here."
        ),
    ] = None,
) -> Compute:
    """Returns what is computed on."""
    return Compute(workers, threads, device, launcher, ray_address)


def overrides_of(
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Override a setting; the value is YAML. Repeatable."),
    ] = None,
) -> "list[Override]":
    """Returns the settings that stand in place of a file's."""
    from pipeline.space.overrides import Override

    return [Override.parse(option) for option in overrides or ()]


@dataclass(frozen=True)
class StudyOptions:
    """Settings of a study that stand on the command line; None where it says nothing."""

    trials: Annotated[int | None, typer.Option(help="The total number of trials, over all runs of the study.")] = None
    timeout: Annotated[float | None, typer.Option(help="Stop this run after so many seconds.")] = None
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None
    retries: Annotated[int | None, typer.Option(help="How often to retry a trial whose process died; default: 2.")] = (
        None
    )
    trial_timeout: Annotated[
        float | None, typer.Option(help="Prune a trial after so many seconds; default: no limit.")
    ] = None
    trial_memory: Annotated[
        float | None, typer.Option(help="Fail a trial whose process uses more memory than this, in GiB.")
    ] = None

    def given(self) -> dict[str, int | float]:
        """Returns those that were given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class NewOptions(StudyOptions):
    """The same of a study that has them already."""

    trials: Annotated[int | None, typer.Option(help="The new total number of trials.")] = None
    retries: Annotated[int | None, typer.Option(help="How often to retry a trial whose process died.")] = None
    trial_timeout: Annotated[float | None, typer.Option(help="Prune a trial after so many seconds.")] = None


# What a command takes as one value. Of the workspace, each has the part that it uses.
StudyWorkspace = Annotated[Workspace, group(workspace_of, "workspace", "storage")]
LoggedWorkspace = Annotated[Workspace, group(workspace_of, "workspace", "storage", "tracking_uri", "experiment")]
WholeWorkspace = Annotated[Workspace, group(workspace_of)]
WorkerCompute = Annotated[Compute, group(compute_of)]
LocalCompute = Annotated[Compute, group(compute_of, "workers", "threads", "device")]
DeviceCompute = Annotated[Compute, group(compute_of, "device", "threads")]
Overrides = Annotated["list[Override]", group(overrides_of)]
