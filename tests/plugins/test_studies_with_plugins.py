from pathlib import Path

import optuna
import pytest

from pipeline.config.study import StudyConfig
from pipeline.core.errors import PluginError, StudyError
from pipeline.core.workspace import Workspace
from pipeline.plugins.loading import load_plugins, loaded_plugins, unload
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import parse
from pipeline.storage.internals import storage_of
from pipeline.storage.open import open_storage
from pipeline.study.attributes import PLUGINS
from pipeline.study.cases import Cases
from pipeline.study.creation import create_or_resume
from pipeline.study.studies import ConfigSource, open_study, stored_definition

SPACE = """space:
  data: {kind: digits}
  model: {choice: [mlp, {kind: small_conv, filters: {int: [4, 16]}}]}
"""

pytestmark = pytest.mark.usefixtures("small_conv")


def _space() -> SpaceFile:
    return read_space(parse(SPACE, "f.yaml"), "s")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def study(workspace: Workspace) -> optuna.Study:
    return create_or_resume(open_storage(workspace.storage_url), "s", StudyConfig(), _space().space)


def _change(tmp_path: Path) -> None:
    """Loads the plug-in with another content, under its name."""
    (plugin,) = loaded_plugins()
    assert plugin.source is not None
    unload(plugin)
    file = tmp_path / "small_conv.py"
    file.write_bytes(plugin.source + b"\n# changed\n")
    load_plugins([file])


def test_a_study_notes_the_plugins_whose_kinds_it_names(study: optuna.Study) -> None:
    (plugin,) = loaded_plugins()
    assert study.user_attrs[PLUGINS] == [
        {"name": "small_conv.py", "version": plugin.version, "kinds": [["model", "small_conv"]]}
    ]


def test_one_that_names_none_notes_none(workspace: Workspace) -> None:
    space = read_space(parse("space: {data: {kind: digits}}", "f.yaml"), "s").space
    study = create_or_resume(open_storage(workspace.storage_url), "s", StudyConfig(), space)
    assert PLUGINS not in study.user_attrs


def test_cases_and_functions_note_theirs(workspace: Workspace) -> None:
    config = next(each for each in _space().space.boundary_configs(["model.kind"]) if each.model.kind == "small_conv")
    storage = open_storage(workspace.storage_url)
    named = [["model", "small_conv"]]
    everything = [["loss", "own_focal"], ["metric", "valid_specificity"], *named]
    sources: dict[str, ConfigSource] = {"cases": Cases({"a": config}, 1), "function": lambda trial: config}
    for (name, source), expected in zip(sources.items(), (named, everything), strict=True):
        study = create_or_resume(storage, name, StudyConfig(), source)
        assert [sorted(needed["kinds"]) for needed in study.user_attrs[PLUGINS]] == [expected]


def test_without_its_plugin_a_study_says_what_it_needs(study: optuna.Study, workspace: Workspace) -> None:
    (plugin,) = loaded_plugins()
    unload(plugin)
    said = (
        rf"study s needs the plug-in small_conv.py \(SHA-256 {plugin.version[:12]}\.\.\.\) for the model small_conv, "
        "and it is not loaded. Give it with --plugin small_conv.py"
    )
    with pytest.raises(PluginError, match=said):
        open_study(workspace, "s")
    with pytest.raises(PluginError, match=said):
        stored_definition(study)


def test_with_a_changed_plugin_a_study_is_looked_at_but_not_gone_on_with(
    study: optuna.Study, workspace: Workspace, tmp_path: Path
) -> None:
    _change(tmp_path)
    assert open_study(workspace, "s").study_name == "s"
    said = r"study s was started with another small_conv.py \(SHA-256 .*; this one is SHA-256 .*\): trials of both do"
    with pytest.raises(PluginError, match=said):
        open_study(workspace, "s", computes=True)
    with pytest.raises(PluginError, match=said):
        create_or_resume(storage_of(study), "s", StudyConfig(), _space().space)


def test_what_the_storage_says_of_plugins_is_not_trusted(study: optuna.Study, workspace: Workspace) -> None:
    study.set_user_attr(PLUGINS, [{"name": 3}])
    with pytest.raises(StudyError, match="is not what dnntune writes"):
        open_study(workspace, "s")
