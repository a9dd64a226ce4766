"""The folder: what is in it, that it can be trusted, and that it is whole or not there."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.config.data import Arrays
from pipeline.export.environment import without_machine_paths
from pipeline.export.errors import ExportError
from pipeline.export.folder import CHECKSUMS, FILES
from pipeline.export.reading import load_export
from pipeline.export.writing import Exported
from pipeline.space.files import load_configuration
from tests.export.conftest import METRICS, Trained

ROOT = Path(__file__).parents[2]
AGAIN = f"""
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from pipeline.data.loading import load_data
from pipeline.export.reading import load_export
from pipeline.export.writing import export_model
loaded = load_export(Path(sys.argv[1]))
data = load_data(loaded.config.data)
export_model(loaded.network, config=loaded.config, images=data.valid, class_names=data.class_names,
             image_shape=data.image_shape, metrics={METRICS!r}, folder=Path("model"), fold_batch_norm=True)
"""


def test_every_file_gives_what_the_model_gives(exported: Exported, trained: Trained) -> None:
    assert set(exported.differences) == {"model.safetensors", "model.pt2", "model.onnx"}
    assert max(exported.differences.values()) < 1e-6
    assert exported.num_checked == len(trained.data.valid)
    assert exported.notes == (
        "batch normalizations folded into layers beside them: 3; left as they are, for none could take them: 0",
    )


def test_the_folder_has_all_files_and_their_checksums(exported: Exported) -> None:
    folder = exported.folder
    assert {entry.name for entry in folder.iterdir()} == {CHECKSUMS, *FILES}
    done = subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK\n") == len(FILES)
    assert json.loads((folder / "metrics.json").read_text()) == METRICS
    assert list(folder.parent.iterdir()) == [folder]


def test_the_configuration_trains_the_same_again(exported: Exported, trained: Trained) -> None:
    assert load_configuration(str(exported.folder / "config.yaml")) == trained.config


def test_the_card_has_figures_data_and_limits(exported: Exported) -> None:
    card = (exported.folder / "README.md").read_text()
    assert "| test.accuracy | 0.5 |" in card
    assert "digits: gray images of 8 x 8 pixels." in card
    assert "hidden units 16 - 16, elu, batch normalization after the activation, dropout." in card
    assert "None: everything was learned from the data above." in card
    assert f"- {exported.notes[0]}" in card


@pytest.mark.slow
def test_another_process_elsewhere_writes_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", AGAIN, str(exported.folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        check=True,
    )
    for name in (*FILES, CHECKSUMS):
        assert (tmp_path / "model" / name).read_bytes() == (exported.folder / name).read_bytes(), name


def test_no_file_says_where_it_was_made(exported: Exported) -> None:
    for file in exported.folder.iterdir():
        for place in (ROOT, Path.home(), exported.folder.parent, Path(torch.__file__).parent):
            assert str(place).encode() not in file.read_bytes(), file.name
        for trace in (b".py", b"site-packages", b"stack_trace"):
            assert trace not in file.read_bytes(), file.name


def test_absolute_paths_are_cut_in_the_configuration(trained: Trained) -> None:
    data = Arrays(path="/somewhere/mine/images.npz")
    config, cut = without_machine_paths(trained.config.model_copy(update={"data": data}))
    assert (config.data.model_dump()["path"], cut) == ("images.npz", ("data.path",))
    assert without_machine_paths(trained.config) == (trained.config, ())


def test_a_model_that_gives_no_numbers_is_not_exported(trained: Trained, tmp_path: Path) -> None:
    broken = copy.deepcopy(trained.model)
    torch.nn.init.constant_([*broken.parameters()][-1], float("nan"))
    with pytest.raises(ExportError, match=r"must be finite; layers\.\d+\.bias has NaN"):
        trained.export(tmp_path / "model", model=broken)
    assert list(tmp_path.iterdir()) == []


def test_another_networks_configuration_is_refused(trained: Trained, tmp_path: Path) -> None:
    other = trained.config.replaced({"model.width": 17})
    with pytest.raises(ExportError, match="Give the configuration that the model was trained with"):
        trained.export(tmp_path / "model", config=other)


@pytest.mark.parametrize("content", ["file", "foreign", "export"])
def test_nothing_is_overwritten_unasked(content: str, trained: Trained, exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if content == "file":
        folder.write_text("mine")
    elif content == "foreign":
        folder.mkdir()
        (folder / "README.md").write_text("mine")
    else:
        folder = exported.folder
    with pytest.raises(ExportError, match=r"is a file|has something else in it|is an export already"):
        trained.export(folder, overwrite=content != "export")


def test_an_export_is_replaced_if_that_is_asked_for(trained: Trained, exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / CHECKSUMS).write_text("damaged")
    assert trained.export(folder, overwrite=True).notes == ()
    assert load_export(folder).config == trained.config
    assert list(tmp_path.iterdir()) == [folder]
    # What is folded changes the graphs alone.
    same = (folder / "model.safetensors").read_bytes() == (exported.folder / "model.safetensors").read_bytes()
    assert same
    assert (folder / "model.pt2").read_bytes() != (exported.folder / "model.pt2").read_bytes()


def test_no_image_is_in_the_graph(exported: Exported) -> None:
    assert torch.export.load(exported.folder / "model.pt2").example_inputs is None
