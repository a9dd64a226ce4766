"""Exports in MLflow's registry: the first champion, better and worse challengers, and what cannot be compared."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import StudyError, TrackingError
from pipeline.core.workspace import Workspace
from pipeline.data.image_data import LabeledImages
from pipeline.data.loading import load_data, load_test
from pipeline.export.errors import ExportError
from pipeline.export.folder import CHECKSUMS, write_checksums
from pipeline.export.reading import load_export
from pipeline.export.writing import export_model
from pipeline.finalize.final_file import save_final
from pipeline.registration.registry import CHALLENGER, CHAMPION, CHECKSUM, Registry
from pipeline.registration.study import register
from pipeline.registration.versions import Candidate, Registered, checksum_of, enter, outcome_lines
from pipeline.tracking.store import experiment_id
from pipeline.training.start import start
from tests.finalize.finals import FINAL

FIGURES = {"study": "s", "trial": 3, "seed": 5, "test_accuracy": 0.9, "test_interval": (0.88, 0.92), "test_images": 359}


class Exports(NamedTuple):
    """Folders of exports: of a network that has learned little, of one that has learned more; and test images."""

    weak: Path
    strong: Path
    others: Path
    test: LabeledImages


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    config = TrialConfig.model_validate(
        {
            "data": {"kind": "digits"},
            "model": {"hidden_layers": 1, "width": 16},
            "optimizer": {"kind": "adamw", "lr": 0.005},
            "epochs": 8,
        }
    )
    data = load_data(config.data)
    training = start(config, data)
    folder = tmp_path_factory.mktemp("exports")

    def export(name: str, class_names: tuple[str, ...]) -> Path:
        return export_model(
            training.model,
            config=config,
            images=data.valid,
            class_names=class_names,
            image_shape=data.image_shape,
            metrics={},
            folder=folder / name / "export",
        ).folder

    epochs = iter(training.epochs)
    next(epochs)
    weak = export("weak", data.class_names)
    for _ in epochs:
        pass
    strong = export("strong", data.class_names)
    others = export("others", tuple(f"digit {name}" for name in data.class_names))
    test = load_test(config.data, data)
    assert test is not None
    return Exports(weak, strong, others, test)


@pytest.fixture
def registry(workspace: Path) -> Registry:
    return Registry(Workspace(workspace).tracking_url, "digits")


@pytest.fixture
def enter_export(registry: Registry, exports: Exports, workspace: Path) -> Callable[[Path], Registered]:
    experiment = experiment_id(registry.client, "dnntune", Workspace(workspace).artifacts)
    run = registry.client.create_run(experiment).info.run_id
    return lambda folder: enter(registry, Candidate(folder, FIGURES, exports.test, run))


def holders(registry: Registry) -> dict[str, int]:
    """The versions that have an alias."""
    found = {alias: registry.aliased(alias) for alias in (CHAMPION, CHALLENGER)}
    return {alias: version.number for alias, version in found.items() if version is not None}


def tags_of(registry: Registry, number: int) -> dict[str, str]:
    return dict(registry.client.get_model_version(registry.model, str(number)).tags)


def test_the_first_version_becomes_the_champion(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered], tmp_path: Path
) -> None:
    found = enter_export(exports.weak)
    assert (found.version, found.is_new, found.champion) == (1, True, 1)
    assert found.decision.reason == "there was no champion before"
    assert holders(registry) == {CHAMPION: 1}
    stored = registry.client.get_model_version("digits", "1")
    expected = {
        **{"study": "s", "trial": "3", "seed": "5", "data": "digits"},
        **{"test_accuracy": "0.9000", "test_interval": "0.8800 to 0.9200"},
        **{CHECKSUM: checksum_of(exports.weak), "decision": "champion", "reason": "there was no champion before"},
    }
    assert expected.items() <= stored.tags.items()
    for split in (
        "**0.9000**",
        "Became the champion",
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "models:/digits/1",
        "dnntune train",
    ):
        assert split in (stored.description or "")
    images = exports.test.images
    kept = load_export(registry.download(1, tmp_path))
    assert torch.equal(kept.probabilities(images), load_export(exports.weak).probabilities(images))


def test_a_better_challenger_takes_its_place(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered]
) -> None:
    enter_export(exports.weak)
    found = enter_export(exports.strong)
    assert (found.version, found.champion) == (2, 2)
    assert found.decision.comparison is not None
    assert found.decision.comparison.interval[0] > 0.0
    assert found.decision.comparison.images == len(exports.test)
    assert holders(registry) == {CHAMPION: 2}
    assert tags_of(registry, 1)["champion_until"] == tags_of(registry, 2)["champion_since"]
    assert tags_of(registry, 2)["reason"] == found.decision.reason
    assert "champion_until" not in tags_of(registry, 2)


def test_a_worse_challenger_does_not(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered]
) -> None:
    enter_export(exports.strong)
    before = tags_of(registry, 1)
    found = enter_export(exports.weak)
    assert (found.version, found.champion, found.decision.is_champion) == (2, 1, False)
    assert holders(registry) == {CHAMPION: 1, CHALLENGER: 2}
    assert tags_of(registry, 1) == before
    assert tags_of(registry, 2)["decision"] == "challenger"
    assert "Stays the challenger" in (registry.client.get_model_version("digits", "2").description or "")


def test_the_same_export_is_one_version_however_often_it_is_registered(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered], tmp_path: Path
) -> None:
    enter_export(exports.strong)
    before = tags_of(registry, 1)
    again = enter_export(shutil.copytree(exports.strong, tmp_path / "copy" / "export"))
    assert (again.version, again.is_new, again.champion) == (1, False, 1)
    assert again.decision.reason == "this version is the champion already"
    assert tags_of(registry, 1) == before
    assert enter_export(exports.weak).is_new
    challenger = enter_export(exports.weak)
    assert (challenger.version, challenger.is_new, challenger.champion) == (2, False, 1)
    assert len(registry.client.search_model_versions("name = 'digits'")) == 2
    assert next(outcome_lines(challenger)) == "digits, version 2: the same files were registered before"


def test_a_former_champion_may_come_back(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered]
) -> None:
    enter_export(exports.weak)
    enter_export(exports.strong)
    registry.unalias(CHAMPION)
    assert enter_export(exports.weak).champion == 1
    assert holders(registry) == {CHAMPION: 1}
    assert "champion_until" not in tags_of(registry, 1)


@pytest.mark.usefixtures("registry")
def test_a_champion_of_other_classes_stays(exports: Exports, enter_export: Callable[[Path], Registered]) -> None:
    enter_export(exports.others)
    found = enter_export(exports.strong)
    assert (found.version, found.champion) == (2, 1)
    assert "its 10 classes are others than these 10" in found.decision.reason
    assert "--name" in found.decision.reason
    assert found.decision.comparison is None


def test_a_champion_whose_files_have_changed_is_not_compared_with(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered], workspace: Path
) -> None:
    enter_export(exports.weak)
    (weights,) = workspace.rglob("export/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(
        TrackingError, match=r"version 1 of digits.*model\.safetensors is not as it was exported.*--name"
    ):
        enter_export(exports.strong)
    assert holders(registry) == {CHAMPION: 1, CHALLENGER: 2}


def test_a_champion_whose_files_were_exchanged_is_not_compared_with(
    exports: Exports, enter_export: Callable[[Path], Registered], workspace: Path
) -> None:
    enter_export(exports.weak)
    (kept,) = [file.parent for file in workspace.rglob("export/SHA256SUMS")]
    shutil.copytree(exports.strong, kept, dirs_exist_ok=True)
    with pytest.raises(TrackingError, match="not those that were registered"):
        enter_export(exports.strong)


def with_weights(export: Path, value: float, folder: Path) -> Path:
    """Copies an export, with all weights of a layer set to a value and with checksums that fit."""
    export = shutil.copytree(export, folder / "export")
    tensors = load_file(export / "model.safetensors")
    tensors["layers.1.weight"] = torch.full_like(tensors["layers.1.weight"], value)
    save_file(tensors, export / "model.safetensors")
    (export / CHECKSUMS).unlink()
    write_checksums(export)
    return export


def test_a_challenger_whose_checksums_fit_and_whose_weights_do_not_is_not_registered(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="weights and statistics must be finite"):
        enter_export(with_weights(exports.weak, float("nan"), tmp_path))
    assert holders(registry) == {}


def test_a_champion_that_gives_no_numbers_is_not_compared_with(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered], tmp_path: Path
) -> None:
    enter_export(with_weights(exports.weak, 3e38, tmp_path))
    with pytest.raises(TrackingError, match=r"version 1 of digits, the champion.*probabilities must be finite.*--name"):
        enter_export(exports.strong)
    assert holders(registry) == {CHAMPION: 1, CHALLENGER: 2}


def test_a_champion_of_another_program_is_not_compared_with(
    registry: Registry, exports: Exports, enter_export: Callable[[Path], Registered]
) -> None:
    enter_export(exports.weak)
    registry.client.delete_model_version_tag("digits", "1", CHECKSUM)
    with pytest.raises(TrackingError, match="dnntune register has not made it"):
        enter_export(exports.strong)


def test_a_registration_that_was_cut_off_is_gone_on_with(
    registry: Registry,
    exports: Exports,
    enter_export: Callable[[Path], Registered],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enter_export(exports.weak)

    def cut_off(_alias: str, _number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "alias", cut_off)
    with pytest.raises(KeyboardInterrupt):
        enter_export(exports.strong)
    monkeypatch.undo()
    found = enter_export(exports.strong)
    assert (found.version, found.is_new, found.champion) == (2, False, 2)
    assert holders(registry) == {CHAMPION: 2}


def test_a_study_must_be_finalized(finished: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"Run dnntune finalize small --workspace \S+ first"):
        register("small", model="m", workspace=Workspace(finished["workspace"]))


@pytest.fixture
def elsewhere(finished: dict[str, Any], workspace: Path) -> Workspace:
    """A workspace with the finished study, whose log is in another store."""
    for file in finished["workspace"].glob("studies.db*"):  # with the log of what is not in the database yet
        shutil.copy(file, workspace)
    return Workspace(workspace)


def test_a_study_without_test_images_is_refused(elsewhere: Workspace) -> None:
    save_final(elsewhere, replace(FINAL, split="valid"))
    with pytest.raises(StudyError, match=r"no test set .* dnntune finalize again; .* dnntune export"):
        register("small", model="m", workspace=elsewhere)


def test_a_study_without_a_run_in_the_store_is_refused(elsewhere: Workspace) -> None:
    save_final(elsewhere, FINAL)
    with pytest.raises(
        TrackingError, match=r"study small has none in experiment dnntune of MLflow at sqlite:.*dnntune sync"
    ):
        register("small", model="m", workspace=elsewhere)
    assert Registry(elsewhere.tracking_url, "m").aliased(CHAMPION) is None
