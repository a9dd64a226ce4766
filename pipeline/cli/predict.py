"""The command predict: an export at work, without the study that it comes from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import app
from pipeline.core.printing import print_line
from pipeline.core.text import csv_text

if TYPE_CHECKING:
    from pipeline.export.prediction import Prediction


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an export.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, or folders of image files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, for each image.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Show the probabilities of all classes, in their order.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="Show this many of the most probable classes.")] = 1,
    mc_samples: Annotated[
        int | None,
        typer.Option("--mc-samples", min=1, help="Use so many passes of Monte Carlo dropout, and show their spread."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with a head: a line for each image.")] = False,
    labelled: Annotated[
        bool,
        typer.Option(
            "--labelled",
            help="The folder of each image is named after its class: also show the accuracy, and each class's.",
        ),
    ] = False,
) -> None:
    """Classify images with an export; exit code 2 if any of them cannot be read."""
    from pipeline.core.errors import DataError, DnntuneError
    from pipeline.evaluation.labelled import Labelled
    from pipeline.export.prediction import list_images, predict_files
    from pipeline.export.reading import load_export

    if as_csv and as_json:
        raise DnntuneError("--csv and --json exclude each other: leave one out")
    export = load_export(folder)
    truth = Labelled(export.class_names, list_images(images)) if labelled else None
    has_failed = False
    num_printed = 0
    for result in predict_files(export, images, batch_size=batch_size, mc_samples=mc_samples):
        if isinstance(result, DataError):
            print_line(f"dnntune: {result}", err=True)
            has_failed = True
            continue
        order = list(range(len(export.class_names))) if probabilities else result.order()[:top]
        true = {} if truth is None else {"true": export.class_names[truth.add(result)]}
        if as_csv:
            lines = csv_text(
                [{**_row(result, export.class_names, order, all_classes=probabilities), **true}]
            ).splitlines(keepends=True)
            print_line("".join(lines[num_printed > 0 :]), end="")  # one head for all
        elif as_json:
            print_line(json.dumps({**_to_dict(result, export.class_names, order), **true}))
        else:
            told = ", ".join(_format(result, export.class_names, index) for index in order)
            print_line(f"{result.file}: {told}" + (f" (true: {true['true']})" if true else ""))
        num_printed += 1
    if truth is not None and num_printed:
        from pipeline.display.console import wide_console
        from pipeline.display.tables import class_table

        is_apart = as_csv or as_json
        accuracy, (low, high), classes = truth.results()
        interval = f"95 % interval {low:.4f} to {high:.4f}"
        print_line(f"accuracy {accuracy:.4f} on {num_printed:,} images ({interval})", err=is_apart)
        wide_console(err=is_apart).print(class_table([{**asdict(one), "f1": one.f1} for one in classes]))
    if has_failed:
        raise typer.Exit(2)


def _format(result: "Prediction", class_names: tuple[str, ...], index: int) -> str:
    spread = "" if result.spread is None else f" ± {result.spread[index]:.4f}"
    return f"{class_names[index]} {result.probabilities[index]:.4f}{spread}"


def _row(result: "Prediction", class_names: tuple[str, ...], order: list[int], *, all_classes: bool) -> dict[str, Any]:
    """Returns the most probable class, the next ones (label_2, ...), or with all of them a column for each class."""
    spread = result.spread
    row: dict[str, Any] = {"file": str(result.file)}
    if all_classes:
        fields = {"label": class_names[result.label], "probability": result.probabilities[result.label]}
        row |= fields | {f"probability_{class_names[index]}": result.probabilities[index] for index in order}
        return row if spread is None else row | {f"spread_{class_names[index]}": spread[index] for index in order}
    for place, index in enumerate(order, 1):
        ending = "" if place == 1 else f"_{place}"
        row |= {f"label{ending}": class_names[index], f"probability{ending}": result.probabilities[index]}
        row |= {} if spread is None else {f"spread{ending}": spread[index]}
    return row


def _to_dict(result: "Prediction", class_names: tuple[str, ...], order: list[int]) -> dict[str, Any]:
    def one(index: int) -> dict[str, Any]:
        fields = {"label": class_names[index], "probability": result.probabilities[index]}
        return fields if result.spread is None else {**fields, "spread": result.spread[index]}

    return {"file": str(result.file), **one(result.order()[0]), "classes": [one(index) for index in order]}
