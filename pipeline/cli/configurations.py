"""Commands about a file: check, train."""

import json
from typing import Annotated

import typer

from pipeline.cli.options import (
    ConfigArgument,
    DataOption,
    DeviceOption,
    JsonOption,
    SetOption,
    SpaceArgument,
    ThreadsOption,
    app,
)


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
def train(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    data_dir: DataOption = None,
    mc_samples: Annotated[
        int | None, typer.Option("--mc-samples", min=1, help="Passes of Monte Carlo dropout at the evaluation.")
    ] = None,
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
        trial,
        data_dir=data_dir,
        device=device,
        threads=threads,
        mc_samples=mc_samples,
        show=lambda epoch: say(epoch_line(epoch)),
    )
    for line in figure_lines(figures):
        say(line)
    if as_json:
        typer.echo(json.dumps(figures))
