"""Commands that say why a network trains or does not: diagnose, lr-find, ablate, importance."""

import json
from typing import Annotated

import typer

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import (
    ConfigArgument,
    DeviceCompute,
    FigureOption,
    JsonOption,
    LocalCompute,
    Overrides,
    StudyArgument,
    StudyNameOption,
    StudyWorkspace,
    WholeWorkspace,
    app,
    this_command,
    workspace_of,
)
from pipeline.cli.running import say_what_mlflow_lacks
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace

NoiseOption = Annotated[
    str | None,
    typer.Option(
        "--random-images", metavar="CxHxW", help="Use random images of this shape (10 classes) instead of the data."
    ),
]


@app.command()
@grouped
def diagnose(
    config: ConfigArgument,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 300,
    random_images: NoiseOption = None,
    *,
    overrides: Overrides,
    compute: DeviceCompute,
    workspace: Annotated[Workspace, group(workspace_of, "data_dir")],
    as_json: JsonOption = False,
) -> None:
    """Find out whether gradients vanish or explode, and what helps."""
    from pipeline.space.files import load_configuration

    trial = load_configuration(config, overrides)
    from pipeline.analysis.diagnosis import diagnose
    from pipeline.analysis.remedies import Remedy, network
    from pipeline.display.console import wide_console
    from pipeline.display.diagnosis_text import diagnosis_lines, diagnosis_table, settings_text
    from pipeline.setup.inputs import load_images

    data = load_images(trial, random_images, data_dir=workspace.data_dir, compute=compute)

    def trying(remedy: Remedy) -> None:
        print_line(f"trying {settings_text(remedy)}", err=True)

    print_line(network(trial.model), err=True)
    found = diagnose(trial, data, num_steps=steps, trying=trying)
    wide_console(err=as_json).print(diagnosis_table(found))
    for line in diagnosis_lines(found):
        print_line(line, err=as_json)
    if as_json:
        print_line(json.dumps(found.to_json()))


@app.command(name="lr-find")
@grouped
def lr_find(
    config: ConfigArgument,
    low: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(min=20, help="Optimizer steps from the first to the last.")] = 500,
    figure: FigureOption = None,
    random_images: NoiseOption = None,
    *,
    overrides: Overrides,
    compute: DeviceCompute,
    workspace: Annotated[Workspace, group(workspace_of, "data_dir", "workspace")],
    as_json: JsonOption = False,
) -> None:
    """Find learning rates worth searching, with a range test."""
    from pipeline.core.errors import DnntuneError
    from pipeline.display.console import figure_path
    from pipeline.space.files import load_configuration

    if not 0.0 < low < high:
        raise DnntuneError(f"--low must lie above 0 and below --high; got {low:g} and {high:g}")
    path = figure_path(figure, workspace.root, "lr-find")
    trial = load_configuration(config, overrides)
    from pipeline.analysis.probe import range_test
    from pipeline.analysis.rate_range import curve_lines, suggest, suggestion_lines
    from pipeline.figures.canvas import save
    from pipeline.figures.curves import draw_range_test
    from pipeline.setup.inputs import load_images

    data = load_images(trial, random_images, data_dir=workspace.data_dir, compute=compute)
    rates, losses = range_test(trial, data, low=low, high=high, num_steps=steps)
    found = suggest(rates, losses)
    save(draw_range_test(rates, losses, (found.low, found.high), f"range test, {trial.optimizer.kind}"), path)
    for line in [*curve_lines(rates, losses, found), *suggestion_lines(found), f"figure: {path}"]:
        print_line(line, err=as_json)
    if as_json:
        print_line(json.dumps({"low": found.low, "high": found.high, "constant": found.constant, "figure": str(path)}))


@app.command()
@grouped
def ablate(
    config: ConfigArgument,
    seeds: Annotated[int, typer.Option(min=2, help="How many seeds to train each configuration with.")] = 5,
    study: StudyNameOption = None,
    *,
    compute: LocalCompute,
    figure: FigureOption = None,
    overrides: Overrides,
    as_json: JsonOption = False,
    workspace: WholeWorkspace,
) -> None:
    """Switch off one technique at a time, and measure what it contributed, over seeds."""
    from pipeline.core.names import check_name, fitting
    from pipeline.display.console import figure_path, wide_console
    from pipeline.display.progress import StudyProgress
    from pipeline.display.tables import ablation_table
    from pipeline.space.files import configuration_name, load_configuration

    trial = load_configuration(config, overrides)
    name = study or check_name(fitting(f"ablation-{configuration_name(config)}"), "a study")
    path = figure_path(figure, workspace.root, name)
    from pipeline.analysis.ablation_study import run_ablation

    with StudyProgress("valid_accuracy") as progress:
        found = run_ablation(
            trial,
            name=name,
            num_seeds=seeds,
            workspace=workspace,
            compute=compute,
            observer=progress,
            figure=path,
        )
    if found.rows:
        wide_console(err=as_json).print(ablation_table(name, found.rows))
    if found.figure is not None:
        print_line(f"figure: {found.figure}", err=as_json)
    if found.summary.num_left:
        print_line(f"{found.summary.num_left} trainings are left. To resume:\n  {this_command()}", err=True)
    say_what_mlflow_lacks(found.summary, workspace)
    if as_json:
        print_line(json.dumps(found.to_json()))
    if found.summary.interrupted:
        raise typer.Exit(130)


@app.command()
@grouped
def importance(
    study: StudyArgument,
    figure: FigureOption = None,
    as_json: JsonOption = False,
    *,
    workspace: StudyWorkspace,
) -> None:
    """Show which parameters of a study mattered."""
    import dataclasses

    from pipeline.analysis.importance import ENOUGH_TRIALS, importances
    from pipeline.display.console import figure_path, wide_console
    from pipeline.display.tables import importance_table
    from pipeline.figures.canvas import save
    from pipeline.figures.curves import draw_importances
    from pipeline.study.studies import open_study

    path = figure_path(figure, workspace.root, f"importance-{study}")
    found = importances(open_study(workspace, study))
    num_trials = max(row.trials for row in found)
    wide_console(err=as_json).print(importance_table(study, found))
    if num_trials < ENOUGH_TRIALS:
        print_line(
            f"{num_trials} complete trials give only rough importances; {ENOUGH_TRIALS} would be enough", err=True
        )
    rows = [(row.parameter, row.ped_anova, row.fanova) for row in found]
    save(draw_importances(rows, f"{study}: {num_trials} complete trials"), path)
    print_line(f"figure: {path}", err=as_json)
    if as_json:
        print_line(json.dumps([dataclasses.asdict(row) for row in found]))
