"""From a table to a prediction: sklearn's breast cancer, trained, exported, and predicted with from CSV."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_breast_cancer

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DataError
from pipeline.data.loading import load_data, load_test
from pipeline.export.prediction import Prediction, predict_files
from pipeline.export.reading import LoadedExport, load_export
from pipeline.export.writing import export_model
from pipeline.training.start import start


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Breast cancer with a column of words, which says nothing, and some cells empty."""
    source = load_breast_cancer()
    file = tmp_path_factory.mktemp("table") / "cancer.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["diagnosis", "clinic", *source.feature_names])
        for row, (label, values) in enumerate(zip(source.target, source.data, strict=True)):
            cells = ["" if row % 50 == 0 and place == 3 else repr(float(value)) for place, value in enumerate(values)]
            writer.writerow([source.target_names[label], "north" if row % 3 else "south", *cells])
    return file


@pytest.fixture(scope="module")
def exported(table: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedExport:
    data_fields = {
        "kind": "table",
        "path": str(table),
        "label": "diagnosis",
        "missing": "median",
        "valid_fraction": 0.2,
    }
    model = {"hidden_layers": 1, "width": 16}
    config = TrialConfig.model_validate({"data": data_fields, "model": model, "epochs": 15, "batch_size": 32})
    data = load_data(config.data)
    training = start(config, data)
    for _ in training.epochs:
        pass
    test = load_test(config.data, data)
    assert test is not None
    _, accuracy = training.evaluate(test)
    assert accuracy > 0.94  # with one mean and deviation for all columns, 0.9349 on average
    folder = tmp_path_factory.mktemp("export") / "model"
    export_model(
        training.model,
        config=config,
        images=test,
        class_names=data.class_names,
        image_shape=data.image_shape,
        metrics={"test_accuracy": accuracy},
        folder=folder,
    )
    return load_export(folder)


def _predictions(export: LoadedExport, file: Path) -> list[Prediction]:
    found = list(predict_files(export, [file]))
    assert all(isinstance(each, Prediction) for each in found)
    return [each for each in found if isinstance(each, Prediction)]


def test_each_row_is_classified(exported: LoadedExport, table: Path) -> None:
    predictions = _predictions(exported, table)
    with table.open() as stream:
        labels = [row["diagnosis"] for row in csv.DictReader(stream)]
    assert len(predictions) == len(labels) == 569
    assert str(predictions[2].file) == f"{table}:3"
    right = [exported.class_names[each.order()[0]] == label for each, label in zip(predictions, labels, strict=True)]
    assert sum(right) / len(right) > 0.95


def test_columns_may_stand_in_another_order_and_the_label_be_absent(
    exported: LoadedExport, table: Path, tmp_path: Path
) -> None:
    with table.open() as stream:
        rows = [dict(reversed(row.items())) for row in csv.DictReader(stream)][:5]
    for row in rows:
        del row["diagnosis"]
    with (tmp_path / "new.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    new, known = _predictions(exported, tmp_path / "new.csv"), _predictions(exported, table)[:5]
    torch.testing.assert_close(
        torch.tensor([each.probabilities for each in new]), torch.tensor([each.probabilities for each in known])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("mean radius", "radius"), "has no column mean radius; it needs clinic, mean radius"),
        (lambda text: text.replace("17.99", "wide", 1), "row 1: column mean radius must be a number; got 'wide'"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    exported: LoadedExport, table: Path, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    (tmp_path / "new.csv").write_text(change(table.read_text()))
    with pytest.raises(DataError, match=message):
        list(predict_files(exported, [tmp_path / "new.csv"]))


def test_a_missing_number_is_filled_as_in_training(exported: LoadedExport, table: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(table.read_text().replace("17.99", "", 1))
    assert len(_predictions(exported, tmp_path / "new.csv")) == 569


def test_the_folder_says_which_columns(exported: LoadedExport) -> None:
    assert exported.columns is not None
    assert exported.columns[0].categories == ("north", "south")
    assert [column.name for column in exported.columns if column.says_missing] == ["mean area"]
