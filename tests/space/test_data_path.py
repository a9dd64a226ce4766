"""Where a relative data.path counts from."""

from pathlib import Path

import pytest

from pipeline.config.data import OwnData
from pipeline.config.trial import TrialConfig
from pipeline.space.files import configuration_text, load_configuration, load_space
from pipeline.space.overrides import Override

SPACE = "space: {data: {kind: image_folder, path: %s}}\n"


def _path(config: TrialConfig) -> str:
    assert isinstance(config.data, OwnData)
    return config.data.path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a space file and images beside it; the current folder is another one."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "spaces").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return project


@pytest.mark.parametrize(("said", "meant"), [("images", "spaces/images"), ("../images", "images"), (".", "spaces")])
def test_it_counts_from_the_file(project: Path, said: str, meant: str) -> None:
    (project / "spaces" / "mine.yaml").write_text(SPACE % said)
    config = load_configuration("../project/spaces/mine.yaml")
    assert _path(config) == str(project / meant)
    # And so it leads to the same images from anywhere, as what best prints.
    (project.parent / "best.yaml").write_text(configuration_text(config))
    assert load_configuration("../best.yaml").data == config.data


@pytest.mark.parametrize("said", ["/data/images", "~/images"])
def test_what_is_not_relative_stays(project: Path, said: str) -> None:
    (project / "mine.yaml").write_text(SPACE % said)
    assert _path(load_configuration(str(project / "mine.yaml"))) == said


def test_an_option_counts_from_the_current_folder(project: Path) -> None:
    (project / "mine.yaml").write_text(SPACE % "images")
    config = load_configuration(str(project / "mine.yaml"), [Override.parse("data.path=other")])
    assert _path(config) == str(project.parent / "elsewhere" / "other")


def test_a_space_that_comes_with_dnntune_counts_from_the_current_folder(project: Path) -> None:
    space = load_space("image_folder_transfer").space
    assert _path(next(space.boundary_configs([]))) == str(project.parent / "elsewhere" / "images")


def test_each_of_a_choice_counts_from_the_file(project: Path) -> None:
    (project / "mine.yaml").write_text(SPACE % "{choice: [images, /data/more]}")
    space = load_space(str(project / "mine.yaml")).space
    assert {_path(config) for config in space.boundary_configs(["data.path"])} == {
        str(project / "images"),
        "/data/more",
    }


def test_each_block_of_a_choice_counts_from_the_file(project: Path) -> None:
    blocks = "{kind: image_folder, path: images}, {kind: arrays, path: ../images.npz}, digits"
    (project / "spaces" / "mine.yaml").write_text(f"space: {{data: {{choice: [{blocks}]}}}}")
    space = load_space(str(project / "spaces" / "mine.yaml")).space
    paths = [config.data.path for config in space.boundary_configs(["data.kind"]) if isinstance(config.data, OwnData)]
    assert paths == [str(project / "spaces" / "images"), str(project / "images.npz")]
