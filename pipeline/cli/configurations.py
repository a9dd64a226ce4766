"""Commands about a file: check, train."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import (
    ConfigArgument,
    DeviceCompute,
    ExportOption,
    JsonOption,
    Overrides,
    SpaceArgument,
    app,
    compute_of,
    workspace_of,
)
from pipeline.core.compute import Compute
from pipeline.core.printing import say
from pipeline.core.workspace import Places

if TYPE_CHECKING:
    from pipeline.records.results import EpochResult


@app.command()
@grouped
def check(
    space: SpaceArgument,
    sample: Annotated[int, typer.Option(min=0, max=10_000, help="Configurations to draw and print.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the draws.")] = 0,
    *,
    compute: Annotated[Compute, group(compute_of, "device")],
    overrides: Overrides,
    places: Annotated[Places, group(workspace_of, "data_dir")],
) -> None:
    """Check that a search space can be run on this machine, and print it as a table."""
    from pipeline.cli.display.console import wide_console
    from pipeline.cli.display.space_table import space_table
    from pipeline.setup.readiness import prove_built_in, prove_ready
    from pipeline.space.files import load_space, sample_configurations

    file = load_space(space, overrides)
    for notice in file.notices:
        say(notice, err=True)
    prove_ready(file.space.corners, compute.device)
    for notice in prove_built_in(file.space.corners, places.data_dir):
        say(notice, err=True)
    wide_console(err=bool(sample)).print(space_table(file.name, file.space))
    for text in sample_configurations(file.space, sample, seed):
        say(f"---\n{text}", end="")


@app.command()
@grouped
def train(
    config: ConfigArgument,
    *,
    overrides: Overrides,
    compute: DeviceCompute,
    places: Annotated[Places, group(workspace_of, "data_dir", "workspace")],
    mc_samples: Annotated[
        int | None, typer.Option("--mc-samples", min=1, help="Passes of Monte Carlo dropout at the evaluation.")
    ] = None,
    export: ExportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one configuration, and measure it on the test set."""
    from pipeline.space.files import load_configuration

    trial = load_configuration(config, overrides)
    from pipeline.setup.readiness import prove_ready

    prove_ready(lambda paths: [trial], compute.device)
    from pipeline.cli.display.console import EPOCH_HEAD, echo, epoch_line, figure_lines
    from pipeline.data.feature_cache import FeatureCache
    from pipeline.evaluation.train_and_test import train_and_test

    tell = echo(err=as_json)

    def show(epoch: "EpochResult") -> None:
        if epoch.epoch == 1:  # not before: what is wrong with the data or the network is said by then
            tell(EPOCH_HEAD)
        tell(epoch_line(epoch))

    figures = train_and_test(
        trial,
        data_dir=places.data_dir,
        compute=compute,
        mc_samples=mc_samples,
        cache=FeatureCache(places.feature_cache, say=tell),
        show=show,
        warn=tell,
        export=export,
    )
    for line in figure_lines(figures):
        tell(line)
    if as_json:
        say(json.dumps(figures))
