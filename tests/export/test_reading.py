"""Reading: checked first, never unpickled, and equal to the model that was trained."""

import pickle
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.export.errors import ExportError
from pipeline.export.folder import CHECKSUMS, FILES
from pipeline.export.reading import LoadedExport, load_export
from pipeline.export.writing import Exported
from pipeline.training.evaluation import predict
from tests.export.conftest import Trained


@pytest.fixture(scope="module")
def loaded(exported: Exported) -> LoadedExport:
    return load_export(exported.folder)


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    return shutil.copytree(exported.folder, tmp_path / "copy")


def test_it_predicts_as_the_trained_model_to_the_bit(loaded: LoadedExport, trained: Trained) -> None:
    valid = trained.data.valid
    assert torch.equal(loaded.probabilities(valid.images), predict(trained.model, valid, nullcontext()).exp())
    assert loaded.class_names == trained.data.class_names
    assert loaded.image_shape == (1, 8, 8)


def test_nothing_is_unpickled(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    load_export(exported.folder)


def test_loading_leaves_the_global_generator_alone(exported: Exported) -> None:
    before = torch.get_rng_state()
    load_export(exported.folder)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed(name: str, copied: Path) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ExportError, match=rf"{name} is not as it was exported"):
        load_export(copied)


@pytest.mark.parametrize("name", [*FILES, CHECKSUMS])
def test_a_missing_file_is_named(name: str, copied: Path) -> None:
    (copied / name).unlink()
    with pytest.raises(ExportError, match=name):
        load_export(copied)


def test_what_else_is_in_the_folder_is_named(copied: Path) -> None:
    (copied / "notes.txt").write_text("")
    with pytest.raises(ExportError, match=r"notes\.txt is not part of the export"):
        load_export(copied)


def test_checksums_of_only_some_files_are_refused(copied: Path) -> None:
    lines = (copied / CHECKSUMS).read_text().splitlines(keepends=True)
    (copied / CHECKSUMS).write_text("".join(line for line in lines if "safetensors" not in line))
    with pytest.raises(ExportError, match=r"model\.safetensors is not as"):
        load_export(copied)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="No such file"):
        load_export(tmp_path / "nowhere")


def test_monte_carlo_dropout_has_a_spread(loaded: LoadedExport, trained: Trained) -> None:
    images = trained.data.valid.images[:50]
    before = torch.get_rng_state()
    mean, spread = loaded.sampled(images, samples=40, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(mean.sum(1), torch.ones(50))
    assert float(spread.min(1).values.max()) > 0.0
    again, _ = loaded.sampled(images, samples=40, seed=1)
    assert torch.equal(mean, again)
    one, none = loaded.sampled(images, samples=1, seed=1)
    assert not torch.equal(one, loaded.probabilities(images))
    assert float(none.max()) == 0.0


def test_monte_carlo_dropout_needs_dropout(loaded: LoadedExport, train_digits: Callable[..., Trained]) -> None:
    plain = train_digits({"hidden_layers": 1, "width": 4})
    without = LoadedExport(plain.config, plain.model, loaded.class_names, {}, loaded.prepares)
    with pytest.raises(ExportError, match="has none"):
        without.sampled(plain.data.valid.images, samples=2)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 9, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8)],
)
def test_images_of_another_kind_are_refused(images: torch.Tensor, loaded: LoadedExport) -> None:
    with pytest.raises(ExportError, match=r"images must be torch\.uint8, .* with 1 x 8 x 8 each"):
        loaded.probabilities(images)


def test_no_images_are_refused(loaded: LoadedExport) -> None:
    with pytest.raises(ExportError, match="at least one"):
        loaded.probabilities(torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
