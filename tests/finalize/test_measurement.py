"""What is chosen by the validation set: of models that were validated on the same images."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.core.errors import StudyError
from pipeline.data.loading import load_data
from pipeline.evaluation.predictor import Predictor, SavedModel
from pipeline.finalize.measurement import FinalSelection, select_final
from pipeline.models.tensors import tensor_bytes
from pipeline.records.final import Finalist
from pipeline.report.final_text import final_lines
from pipeline.training.start import start
from tests.finalize.finals import FINAL


def config(**data: Any) -> TrialConfig:
    model = {"kind": "mlp", "hidden_layers": 1, "width": 8}
    return TrialConfig.model_validate({"data": {"kind": "digits", **data}, "model": model})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    file.write_bytes(tensor_bytes(start(config(), load_data(config().data)).model))
    return file


def kept(name: str, settings: TrialConfig, file: Path, valid_images: str | None = None) -> SavedModel:
    return SavedModel(name, settings, file, valid_images or load_data(settings.data).valid_fingerprint)


def chosen(models: dict[tuple[int, int], SavedModel], library: list[SavedModel]) -> FinalSelection:
    trials = list(dict.fromkeys(trial for trial, _ in models))
    values = {trial: {seed: 0.9 for of, seed in models if of == trial} for trial in trials}
    ranked = [Finalist(trial, 0.9, values[trial], 0.9, None, {}) for trial in trials]
    return select_final(ranked, models, library, metric="valid_accuracy", predictor=Predictor(Compute(device="cpu")))


def test_labels_may_be_the_same_where_images_are_not() -> None:
    one, other = (load_data(config(split_seed=seed).data) for seed in (0, 1))
    shuffled = other.valid.labels.argsort(stable=True), one.valid.labels.argsort(stable=True)
    assert torch.equal(other.valid.labels[shuffled[0]], one.valid.labels[shuffled[1]])
    assert one.valid_fingerprint != other.valid_fingerprint
    assert one.valid_fingerprint == load_data(config(max_train_images=100).data).valid_fingerprint


def test_who_was_validated_on_other_images_is_in_no_ensemble(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Sorted by class, so that the labels of both splits are the same.
    monkeypatch.setattr("pipeline.setup.inputs.load_data", sorted_by_class)
    others = {seed: config(split_seed=seed) for seed in (0, 1)}
    fingerprints = {seed: sorted_by_class(settings.data).valid_fingerprint for seed, settings in others.items()}
    assert len(set(fingerprints.values())) == 2
    models = {
        (3, 1): kept("trial 3, seed 1", others[0], weights, fingerprints[0]),
        (3, 2): kept("trial 3, seed 2", others[0], weights, fingerprints[0]),
        (5, 1): kept("trial 5, seed 1", others[1], weights, fingerprints[1]),
    }
    library = [
        kept("trial 7", others[1], weights, fingerprints[1]),
        kept("trial 8", config(max_train_images=100), weights, fingerprints[0]),
        kept("trial 9", others[0], weights, "of the data as they were"),
    ]
    selection = chosen(models, library)
    members = {name: {model.name for model in models} for name, models in selection.ensembles.items()}
    assert members["seeds"] == {"trial 3, seed 1", "trial 3, seed 2"}
    assert members["top"] == {"trial 3, seed 1"}
    assert members["greedy"] <= {"trial 3, seed 1", "trial 3, seed 2", "trial 8"}
    assert selection.left_out == ("trial 5, seed 1", "trial 7", "trial 9")
    lines = list(final_lines(dataclasses.replace(FINAL, left_out=selection.left_out)))
    assert (
        "not in the ensembles, because validated on other images than the chosen model: "
        "trial 5, seed 1, trial 7, trial 9" in lines
    )


def sorted_by_class(data: Any, **_: Any) -> Any:
    loaded = load_data(data)
    order = loaded.valid.labels.argsort(stable=True)
    valid = dataclasses.replace(loaded.valid, images=loaded.valid.images[order], labels=loaded.valid.labels[order])
    return dataclasses.replace(loaded, valid=valid)


def test_images_that_have_changed_since_the_training_are_refused(weights: Path) -> None:
    models = {(3, 1): kept("trial 3, seed 1", config(), weights, "of the data as they were")}
    with pytest.raises(StudyError, match="must be those with which trial 3, seed 1 was trained"):
        chosen(models, [])
