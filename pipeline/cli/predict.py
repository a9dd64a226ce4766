"""The command predict: an export at work, without the study that it comes from."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import app
from pipeline.core.printing import print_line

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
) -> None:
    """Classify images with an export; exit code 2 if any of them cannot be read."""
    from pipeline.core.errors import DataError
    from pipeline.export.prediction import predict_files
    from pipeline.export.reading import load_export

    export = load_export(folder)
    has_failed = False
    for result in predict_files(export, images, batch_size=batch_size, mc_samples=mc_samples):
        if isinstance(result, DataError):
            print_line(f"dnntune: {result}", err=True)
            has_failed = True
            continue
        order = list(range(len(export.class_names))) if probabilities else result.order()[:top]
        if as_json:
            print_line(json.dumps(_to_dict(result, export.class_names, order)))
        else:
            print_line(f"{result.file}: {', '.join(_format(result, export.class_names, index) for index in order)}")
    if has_failed:
        raise typer.Exit(2)


def _format(result: "Prediction", class_names: tuple[str, ...], index: int) -> str:
    spread = "" if result.spread is None else f" ± {result.spread[index]:.4f}"
    return f"{class_names[index]} {result.probabilities[index]:.4f}{spread}"


def _to_dict(result: "Prediction", class_names: tuple[str, ...], order: list[int]) -> dict[str, Any]:
    def one(index: int) -> dict[str, Any]:
        fields = {"label": class_names[index], "probability": result.probabilities[index]}
        return fields if result.spread is None else {**fields, "spread": result.spread[index]}

    return {"file": str(result.file), **one(result.order()[0]), "classes": [one(index) for index in order]}
