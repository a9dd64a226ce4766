"""Spaces as programs give them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.api.sources import read, read_configuration, workspace_of
from pipeline.config.model import MlpConfig
from pipeline.core.errors import DnntuneError, SpaceError
from pipeline.core.stores.urls import StoreUrl
from pipeline.space.files import load_space
from tests.conftest import SMALL_SPACE

PLAIN: dict[str, Any] = {
    "study": {"trials": np.int64(6), "seed": 1, "pruner": "none"},
    "space": {
        "data": {"kind": "digits", "max_train_images": 300},
        "model": {
            "hidden_layers": IntDistribution(1, 2),
            "width": 16,
            "activation": CategoricalDistribution(["relu", "selu"]),
        },
        "optimizer": {
            "choice": [
                {"kind": "sgd", "lr": FloatDistribution(1e-2, 0.3, log=True)},
                {"kind": "adamw", "lr": {"float": (np.float32(0.001953125), 2e-2), "log": True}},
            ]
        },
        "epochs": 4,
    },
}


def test_plain_values_mean_what_a_file_means(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_SPACE.replace("1e-3", "0.001953125"))
    file = load_space(str(tmp_path / "small.yaml"))
    found = read(PLAIN, name="small", overrides=None)
    assert (found.name, found.study.trials) == ("small", 6)
    assert found.space.parameters() == file.space.parameters()
    assert read(str(tmp_path / "small.yaml"), name=None, overrides=None).space.definition == file.space.definition


def test_settings_replace_those_of_the_space() -> None:
    found = read(PLAIN, name="x", overrides={"model.width": np.int32(8), "epochs": 2}, trials=3, timeout=None, seed=7)
    assert (found.study.trials, found.study.seed, found.name) == (3, 7, "x")
    config = next(found.space.boundary_configs([]))
    assert isinstance(config.model, MlpConfig)
    assert (config.model.width, config.epochs) == (8, 2)
    again = read(found, name="y", overrides=None, trials=5)
    assert (again.study.trials, again.name, again.space) == (5, "y", found.space)


@pytest.mark.parametrize(
    ("space", "options", "words"),
    [
        ({"data": {"kind": "digits"}, "epochs": 0}, {"name": "x"}, r"dict: epochs: must be greater than 0; got 0"),
        ({"data": {"kind": "digits"}}, {}, "a study needs a name, and plain values have none: say name=NAME"),
        ({"data": {"kind": "digits"}}, {"name": "a/b"}, "a/b"),
        ({"data": {"kind": "digits"}}, {"name": "x", "trials": 0}, r"trials=0: study.trials: must be greater than 0"),
        ({"data": {"kind": object()}}, {"name": "x"}, "dict.data.kind: must be a number, a text.*got object"),
        ({1: 2}, {"name": "x"}, "dict: a name must be a word; got 1"),
        (lambda trial: None, {"name": "x"}, "a space is a file, a dict, or what dnntune.check returns; got function"),
        ("no-such-space", {}, "no such file"),
    ],
)
def test_mistakes_are_said_as_those_of_a_file(space: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DnntuneError, match=words):
        read(space, **{"name": None, "overrides": None, **options})


def test_a_checked_space_is_complete() -> None:
    with pytest.raises(SpaceError, match="overrides: a space that has been checked is complete"):
        read(read(PLAIN, name="x", overrides=None), name=None, overrides={"epochs": 1})


def test_a_configuration_is_its_own_plain_values() -> None:
    config = read_configuration({"data": {"kind": "digits"}, "model": {"width": 8}}, {"epochs": 3})
    assert read_configuration(config.to_dict(), None) == read_configuration(config, None) == config
    with pytest.raises(SpaceError, match="a configuration has nothing left to search; this file has"):
        read_configuration(PLAIN, None)


def test_a_folder_stands_for_a_workspace_with_the_environments_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNTUNE_STORAGE", "postgresql://host/name")
    found = workspace_of("here")
    assert (found.root, found.storage) == (Path("here"), StoreUrl("postgresql://host/name"))
    assert workspace_of(found) is found
