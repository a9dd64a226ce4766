"""Commands about a file: check, train."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    ConfigArgument,
    DataOption,
    DeviceOption,
    ExportOption,
    JsonOption,
    SetOption,
    SpaceArgument,
    ThreadsOption,
    WorkspaceOption,
    app,
)
from pipeline.core.printing import say

if TYPE_CHECKING:
    from pipeline.records.results import EpochResult


@app.command()
def check(
    space: SpaceArgument,
    sample: Annotated[int, typer.Option(min=0, max=10_000, help="Configurations to draw and print.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the draws.")] = 0,
    device: DeviceOption = "auto",
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    data_dir: DataOption = None,
) -> None:
    """Check that a search space can be run on this machine, and print it as a table."""
    from pipeline.cli.display.console import wide_console
    from pipeline.cli.display.space_table import space_table
    from pipeline.setup.readiness import prove_built_in, prove_ready
    from pipeline.space.files import load_space, sample_configurations
    from pipeline.space.overrides import Override

    file = load_space(space, [Override.parse(option) for option in overrides])
    for notice in file.notices:
        say(notice, err=True)
    prove_ready(file.space.corners, device)
    for notice in prove_built_in(file.space.corners, data_dir):
        say(notice, err=True)
    wide_console(err=bool(sample)).print(space_table(file.name, file.space))
    for text in sample_configurations(file.space, sample, seed):
        say(f"---\n{text}", end="")


@app.command()
def train(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    data_dir: DataOption = None,
    workspace: WorkspaceOption = Path("runs"),
    mc_samples: Annotated[
        int | None, typer.Option("--mc-samples", min=1, help="Passes of Monte Carlo dropout at the evaluation.")
    ] = None,
    export: ExportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one configuration, and measure it on the test set."""
    from pipeline.space.files import load_configuration
    from pipeline.space.overrides import Override

    trial = load_configuration(config, [Override.parse(option) for option in overrides])
    from pipeline.setup.readiness import prove_ready

    prove_ready(lambda paths: [trial], device)
    from pipeline.cli.display.console import EPOCH_HEAD, echo, epoch_line, figure_lines
    from pipeline.core.workspace import Places
    from pipeline.data.feature_cache import FeatureCache
    from pipeline.evaluation.train_and_test import train_and_test

    tell = echo(err=as_json)

    def show(epoch: "EpochResult") -> None:
        if epoch.epoch == 1:  # not before: what is wrong with the data or the network is said by then
            tell(EPOCH_HEAD)
        tell(epoch_line(epoch))

    figures = train_and_test(
        trial,
        data_dir=data_dir,
        device=device,
        threads=threads,
        mc_samples=mc_samples,
        cache=FeatureCache(Places(workspace).feature_cache, say=tell),
        show=show,
        warn=tell,
        export=export,
    )
    for line in figure_lines(figures):
        tell(line)
    if as_json:
        say(json.dumps(figures))
