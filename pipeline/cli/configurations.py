"""Commands about a file: check, train."""

import json
from typing import Annotated

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
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace


@app.command()
@grouped
def check(
    space: SpaceArgument,
    sample: Annotated[int, typer.Option(min=0, max=10_000, help="Configurations to draw and print.")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the draws.")] = 0,
    *,
    compute: Annotated[Compute, group(compute_of, "device")],
    overrides: Overrides,
    workspace: Annotated[Workspace, group(workspace_of, "data_dir")],
) -> None:
    """Check a search space, and whether this machine can run it; print it as a table."""
    from pipeline.display.console import wide_console
    from pipeline.display.space_table import space_table
    from pipeline.setup.preflight import check_ready, prove_built_in
    from pipeline.space.files import load_space, sample_configurations

    file = load_space(space, overrides)
    for notice in file.notices:
        print_line(notice, err=True)
    check_ready(file.space.boundary_configs, compute.device)
    for notice in prove_built_in(file.space.boundary_configs, workspace.data_dir):
        print_line(notice, err=True)
    wide_console(err=bool(sample)).print(space_table(file.name, file.space))
    for text in sample_configurations(file.space, sample, seed):
        print_line(f"---\n{text}", end="")


@app.command()
@grouped
def train(
    config: ConfigArgument,
    *,
    overrides: Overrides,
    compute: DeviceCompute,
    workspace: Annotated[Workspace, group(workspace_of, "data_dir", "workspace")],
    mc_samples: Annotated[
        int | None,
        typer.Option("--mc-samples", min=1, help="Also measure it with so many passes of Monte Carlo dropout."),
    ] = None,
    export: ExportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one configuration and measure it on the test set."""
    from pipeline.space.files import load_configuration

    trial = load_configuration(config, overrides)
    from pipeline.setup.preflight import check_ready

    check_ready(lambda paths: [trial], compute.device)
    from pipeline.data.feature_cache import FeatureCache
    from pipeline.display.console import EPOCH_HEAD, epoch_line, line_printer, metric_lines, wide_console
    from pipeline.display.tables import class_table, confusion_lines
    from pipeline.evaluation.train_and_test import train_and_test

    write_line = line_printer(err=as_json)

    training = train_and_test(
        trial,
        data_dir=workspace.data_dir,
        compute=compute,
        mc_samples=mc_samples,
        cache=FeatureCache(workspace.feature_cache, notify=write_line),
        notify=write_line,
        export=export,
    )
    for epoch in training:
        if epoch.epoch == 1:  # not before: what is wrong with the data or the network is said by then
            if epoch.fold:
                write_line(f"fold {epoch.fold} of {trial.data.num_folds}")
            write_line(EPOCH_HEAD)
        write_line(epoch_line(epoch))
    metrics = training.result
    for line in metric_lines(metrics):
        write_line(line)
    evaluation = metrics["evaluation"]
    wide_console(err=as_json).print(class_table(evaluation["classes"]))
    for line in confusion_lines(evaluation["confusions"]):
        write_line(line)
    if as_json:
        print_line(json.dumps(metrics))
