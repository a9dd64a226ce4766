"""Configurations: what a space file with nothing to search is, and how files are found."""

from pathlib import Path

import pytest

from pipeline.config.training import AdamW
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import SpaceError
from pipeline.space.files import configuration_text, load_configuration, load_space, read_space
from pipeline.space.yaml_text import parse

SPACES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
SMALL = """
study: {trials: 7}
space:
  data: {kind: digits}
  model: {activation: {choice: [relu, selu]}, width: {int: [10, 100]}}
"""


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.stem)
def test_every_space_that_comes_with_dnntune_is_sound(file: Path) -> None:
    loaded = load_space(str(file))
    assert loaded.name == file.stem
    # A file with nothing to search is a configuration; a study starts from known good practice.
    assert bool(loaded.space.parameters()) == bool(loaded.study.baselines)


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.stem)
def test_a_configuration_is_a_space_with_nothing_to_search(file: Path) -> None:
    for config in load_space(str(file)).space.boundary_configs(
        ["model.dropout.kind", "optimizer.kind", "schedule.kind"]
    ):
        again = read_space(parse(configuration_text(config), "f.yaml"), "f")
        assert again.space.parameters() == []
        assert again.space.num_configurations() == 1
        assert next(again.space.boundary_configs([])) == config


def test_a_file_with_something_to_search_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SMALL)
    with pytest.raises(SpaceError, match=r"has 2 parameters: model\.activation, model\.width") as caught:
        load_configuration(str(tmp_path / "s.yaml"))
    assert "Fix them with --set, or search them with dnntune run" in str(caught.value)


def test_a_space_is_found_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_space("digits_mlp").name == "digits_mlp"
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "digits_mlp.yaml").write_text(SMALL)
    assert load_space("digits_mlp").study.trials == 7
    with pytest.raises(SpaceError, match=r"no such file\. Did you mean digits_mlp"):
        load_space("digit_mlp")


def test_configurations_are_compared_and_frozen() -> None:
    config = TrialConfig.model_validate({"data": {"kind": "digits"}, "optimizer": {"kind": "adamw", "lr": 0.1}})
    assert config.optimizer == AdamW(lr=0.1)
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"early_stopping\.patience"):
        TrialConfig.model_validate(
            {"data": {"kind": "digits"}, "schedule": {"kind": "performance"}, "early_stopping": {"patience": 2}}
        )
