"""Commands about what comes out of a study: finalize, export."""

import json
from typing import Annotated

import typer

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import (
    JsonOption,
    LocalCompute,
    OutFolderOption,
    StudyArgument,
    WholeWorkspace,
    app,
    compute_of,
    this_command,
    workspace_of,
)
from pipeline.core.compute import Compute
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace


@app.command()
@grouped
def finalize(
    study: StudyArgument,
    top: Annotated[int, typer.Option(min=1, help="How many of the best configurations to train again.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="How many new seeds to train each of them with.")] = 5,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Also train the chosen one on training and validation images together, for the export."
        ),
    ] = False,
    mc_samples: Annotated[int, typer.Option("--mc-samples", min=1, help="Passes of Monte Carlo dropout.")] = 20,
    *,
    compute: LocalCompute,
    as_json: JsonOption = False,
    workspace: WholeWorkspace,
) -> None:
    """Train a study's best configurations with new seeds, choose one, and measure it once on the test set."""
    from pipeline.display.console import final_outlook, line_printer, wide_console
    from pipeline.display.progress import StudyProgress
    from pipeline.display.tables import finalists_table
    from pipeline.finalize.run import FinalizeOptions, finalize
    from pipeline.report.final_text import final_lines
    from pipeline.study.studies import metrics_of, open_study

    write_line = line_printer(err=as_json)
    with StudyProgress(next(iter(metrics_of(open_study(workspace, study))), "")) as progress:
        done = finalize(
            study,
            workspace=workspace,
            options=FinalizeOptions(top, seeds, refit, mc_samples),
            compute=compute,
            observer=progress,
            notify=line_printer(err=True),
        )
    if done.final is None:
        print_line(f"{done.summary.num_left} trainings are left. To resume:\n  {this_command()}", err=True)
    else:
        wide_console(err=as_json).print(finalists_table(done.final))
        for line in [*final_lines(done.final), *final_outlook(study, workspace)]:
            write_line(line)
    if as_json:
        print_line(json.dumps(None if done.final is None else done.final.to_json()))
    if done.summary.interrupted:
        raise typer.Exit(130)


@app.command()
@grouped
def export(
    study: StudyArgument,
    out: OutFolderOption,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Export this trial's model instead of the study's best.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Export the models of so many of the best trials, each to a folder in DIR."),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold", help="Fold batch normalization into the neighbouring layers of the graphs.")
    ] = False,
    images: Annotated[int | None, typer.Option(min=1, help="Check each file on so many images; default: all.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export.")] = False,
    *,
    compute: Annotated[Compute, group(compute_of, "threads", "device")],
    as_json: JsonOption = False,
    workspace: Annotated[Workspace, group(workspace_of, "workspace", "storage", "data_dir")],
) -> None:
    """Export a study's finalized model, or its best trial's: for dnntune predict, ONNX and PyTorch."""
    from pipeline.core.errors import DnntuneError
    from pipeline.display.console import exported_lines, line_printer

    if trial is not None and top is not None:
        raise DnntuneError("--trial and --top exclude each other: leave one out")
    from pipeline.evaluation.predictor import Predictor
    from pipeline.finalize.finalists import best_entries
    from pipeline.finalize.study_export import export_all, study_model, trial_model
    from pipeline.study.studies import open_study

    loaded = open_study(workspace, study, computes=True)
    if top is not None:
        numbers = [entry.number for entry in best_entries(loaded, top)]
        models = {out / f"trial-{number:04d}": trial_model(loaded, number, workspace) for number in numbers}
    else:
        models = {out: study_model(study, workspace) if trial is None else trial_model(loaded, trial, workspace)}
    predictor = Predictor(compute, data_dir=workspace.data_dir)
    write_line = line_printer(err=as_json)
    written = export_all(models, predictor=predictor, num_checked=images, fold_batch_norm=fold, overwrite=overwrite)
    for exported in written:
        for line in exported_lines(exported.to_json()):
            write_line(line)
    if as_json:
        print_line(json.dumps([exported.to_json() for exported in written]))
