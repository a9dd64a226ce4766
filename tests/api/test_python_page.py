"""docs/python.md, run from top to bottom: every name of the interface, on a real study."""

import contextlib
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dnntune
from pipeline.export.errors import ExportError

# All of the page's code runs in the first test.
pytestmark = pytest.mark.timeout(1800)
PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Iterator[dict[str, Any]]:
    """What the page's code leaves behind, and what it printed."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "runs").mkdir()
    shutil.copy(mlflow_tables, folder / "runs" / "mlflow.db")
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
            exec(block, names)
        yield {**names, "printed": printed.getvalue(), "folder": folder}


def test_the_page_names_all_of_the_interface() -> None:
    text = PAGE.read_text("utf-8")
    functions = [name for name in dnntune.__all__ if name[0].islower()]
    methods = [name for name in vars(dnntune.Study) if name[0] != "_" and name not in ("metrics",)]
    assert [name for name in functions if f"dnntune.{name}" not in text] == []
    assert [name for name in methods if f"study.{name}" not in text] == []


def test_every_trial_is_a_row(page: dict[str, Any]) -> None:
    trials = page["trials"]
    assert list(trials["number"]) == list(range(10))
    assert set(trials["outcome"]) == {"complete"}
    assert {"valid_accuracy", "seconds", "params_model.hidden_layers", "params_optimizer.lr"} <= set(trials.columns)
    board = page["board"]
    assert list(board["rank"]) == [1, 2, 3, 4, 5]
    assert list(board["valid_accuracy"]) == sorted(trials["valid_accuracy"], reverse=True)[:5]
    assert set(page["mattered"]["parameter"]) == {"model.hidden_layers", "model.width", "optimizer.lr"}


def test_callbacks_are_told_what_happens(page: dict[str, Any]) -> None:
    told = [line for line in page["printed"].splitlines() if re.match(r"\d+ complete 0\.", line)]
    assert [line.split()[0] for line in told] == ["8", "9"]


def test_the_best_is_what_finalize_has_chosen(page: dict[str, Any]) -> None:
    best, final = page["study"].best, page["final"]
    assert (best.number, best.value) == (final.chosen.trial, pytest.approx(final.chosen.mean))
    assert best.config["epochs"] == 4
    assert page["page"] == Path("report.html")
    assert (page["folder"] / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_training_is_an_iterable_of_epochs(page: dict[str, Any]) -> None:
    assert page["epoch"].epoch == page["training"].result["epochs"] == 5
    assert list(page["training"]) == []


def test_a_model_takes_files_arrays_and_images_of_pillows(page: dict[str, Any]) -> None:
    model, folder = page["model"], page["folder"] / "images"
    folder.mkdir()
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    for number, values in enumerate(pixels):
        Image.fromarray(values).save(folder / f"{number}.png")
    files = sorted(folder.iterdir())
    expected = model.predict(pixels)
    assert expected.probabilities.shape == (3, 10)
    assert expected.labels == [model.class_names[row.argmax()] for row in expected.probabilities]
    given = [
        *(str(folder), files, [Image.open(file) for file in files], list(pixels)),
        *(pixels[:, None], pixels[..., None], [files[0], pixels[1], Image.fromarray(pixels[2])]),
    ]
    for images in given:
        # a batch of another size is computed in another order
        found = model.predict(images, batch_size=2).probabilities
        np.testing.assert_allclose(found, expected.probabilities, rtol=1e-5)
    assert (
        len(model.predict(pixels[0])) == len(model.predict(files[0])) == len(model.predict(pixels[0, :, :, None])) == 1
    )


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((8, 8)), "whole numbers from 0 to 255, as its data set has them; got float64 from 0.0 to 0.0"),
        (np.full((8, 8), 256), "got int64 from 256 to 256"),
        (np.zeros((2, 9, 8), np.uint8), r"must have 1 x 8 x 8 values .* shape \(2, 9, 8\)"),
        ([], "at least one image to classify; got none"),
        (7, "got int"),
        (Path("nowhere.png"), "nowhere.png"),
    ],
)
def test_what_is_no_image_is_refused(page: dict[str, Any], images: Any, words: str) -> None:
    with pytest.raises((ExportError, dnntune.errors.DataError), match=words):
        page["model"].predict(images)
