"""Image files, classified from the folder alone."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config.data import ImageFolder
from pipeline.core.errors import DataError
from pipeline.data.image_files import decode
from pipeline.data.sources.image_folder import read_image_folder
from pipeline.export.errors import ExportError
from pipeline.export.prediction import Prediction, list_images, predict_files
from pipeline.export.reading import LoadedExport, load_export
from pipeline.export.writing import Exported
from tests.export.conftest import Trained
from tests.hostile_images import GHOSTSCRIPT, Victims


@pytest.fixture(scope="module")
def loaded(exported: Exported) -> LoadedExport:
    return load_export(exported.folder)


@pytest.fixture
def pictures(trained: Trained, tmp_path: Path) -> Path:
    """Ten validation images as files, one of them hidden, and one that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for index, image in enumerate(trained.data.valid.images[:10]):
        Image.fromarray(image[0].numpy()).save(folder / ("more" if index % 2 else "") / f"{index}.png")
    Image.fromarray(trained.data.valid.images[0, 0].numpy()).save(folder / ".hidden.png")
    (folder / "more" / "5a.png").write_text("no image")
    (folder / "notes.txt").write_text("no image either")
    return folder


def test_files_get_the_probabilities_of_their_pixels(loaded: LoadedExport, pictures: Path, trained: Trained) -> None:
    results = list(predict_files(loaded, [pictures], batch_size=3))
    files = [file for file in list_images([pictures]) if file.stem != "5a"]
    predictions = [result for result in results if isinstance(result, Prediction)]
    assert [prediction.file for prediction in predictions] == files
    assert len(files) == 10
    rows = torch.tensor([int(file.stem) for file in files])
    expected = loaded.probabilities(trained.data.valid.images[rows])
    assert torch.allclose(torch.tensor([prediction.probabilities for prediction in predictions]), expected, atol=1e-6)
    (error,) = [result for result in results if isinstance(result, DataError)]
    assert "5a.png: cannot be read as an image" in str(error)
    assert results.index(error) == list_images([pictures]).index(pictures / "more" / "5a.png")


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("png", "RGB"), ("png", "L"), ("png", "RGBA"), ("png", "P"), ("jpg", "RGB"), ("jpg", "L"), ("jpg", "CMYK")],
)
def test_files_are_read_as_a_data_set_reads_them(mode: str, ending: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        file = tmp_path / "train" / name / f"1.{ending}"
        Image.fromarray(pixels).convert(mode).save(file, exif=exif)
    config = ImageFolder(path=str(tmp_path), image_size=16)
    expected = read_image_folder(config, "train", [])
    assert expected is not None
    assert np.array_equal(decode(file, (3, 16, 16)), expected.pixels[0])
    gray = decode(file, (1, 16, 12))
    assert gray.shape == (1, 16, 12)
    assert decode(file, (4, 16, 12)).shape == (4, 16, 12)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: .*more than 8 bits"):
        decode(tmp_path / "deep.png", (1, 8, 8))


def test_no_image_is_an_error(loaded: LoadedExport, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="found none in"):
        list(predict_files(loaded, [tmp_path]))


def test_floats_are_not_read_from_files(trained: Trained, loaded: LoadedExport, pictures: Path) -> None:
    floats = LoadedExport(
        trained.config,
        trained.model,
        loaded.class_names,
        {},
        trained.data.valid.__class__(
            torch.zeros(0, 1, 8, 8), torch.zeros(0), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        ),
    )
    with pytest.raises(ExportError, match=r"this model takes torch\.float32 values of shape 1 x 8 x 8"):
        list(predict_files(floats, [pictures]))


def test_the_command_names_what_it_cannot_read_and_goes_on(cli: Any, exported: Exported, pictures: Path) -> None:
    nowhere = pictures / "nowhere.png"
    done = cli("predict", exported.folder, nowhere, pictures, "--json", "--top", 2, "--mc-samples", 4, cwd=pictures)
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 10
    for line in lines:
        first, second = line["classes"]
        assert first == {name: line[name] for name in ("label", "probability", "spread")}
        assert first["probability"] >= second["probability"] > 0.0
        assert first["spread"] > 0.0
    assert f"{nowhere}: cannot be read as an image: No such file" in done.stderr
    assert "5a.png: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_prints_a_line_for_each_file(cli: Any, exported: Exported, pictures: Path) -> None:
    done = cli("predict", exported.folder, pictures / "0.png", pictures / "2.png", "--probabilities")
    assert done.returncode == 0, done.stderr
    first, _ = done.stdout.splitlines()
    file, classes = first.split(": ")
    assert file == str(pictures / "0.png")
    words = [word.split(" ") for word in classes.split(", ")]
    assert [label for label, _ in words] == list(map(str, range(10)))
    assert sum(float(value) for _, value in words) == pytest.approx(1.0, abs=1e-3)


@GHOSTSCRIPT
@pytest.mark.timeout(60, func_only=True)
def test_no_program_in_an_image_runs_and_no_pipe_is_waited_for(
    loaded: LoadedExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = Victims.below(tmp_path, monkeypatch)
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in victims.programs().items():
        (folder / f"{name}.jpg").write_bytes(content)
    os.mkfifo(folder / "pipe.jpg")
    found = [str(result) for result in predict_files(loaded, [folder, folder / "pipe.jpg"])]
    assert [line.split(": ")[0] for line in found] == [
        str(folder / f"{name}.jpg") for name in ("deletes", "hangs", "pipe", "writes", "pipe")
    ]
    assert sum("its content is none of" in line for line in found) == 3
    assert victims.are_unharmed()
