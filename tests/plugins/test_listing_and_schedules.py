import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.config.kinds import kinds
from pipeline.core.errors import PluginError, SpaceError
from pipeline.plugins.listing import list_kinds
from pipeline.scheduling.file import load_schedule

if TYPE_CHECKING:
    from subprocess import CompletedProcess

SMALL_CONV = Path(__file__).with_name("small_conv.py")

Cli = Callable[..., "CompletedProcess[str]"]
EXAMPLE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()


def test_the_example_of_the_documentation_is_the_one_that_is_tested() -> None:
    source = SMALL_CONV.read_text()
    assert f"```python\n{source}```" in EXAMPLE
    assert len([line for line in source.splitlines() if line]) < 40


def test_all_kinds_are_listed_with_description_and_origin(small_conv: Path) -> None:
    listed = {(kind.group, kind.name): kind for kind in list_kinds()}
    assert listed["model", "small_conv"].description.startswith("Two convolutions")
    assert listed["model", "small_conv"].origin == f"file {small_conv}"
    assert listed["loss", "own_focal"].origin == f"file {small_conv}"
    assert listed["metric", "valid_specificity"].description.startswith("mean over classes")
    assert listed["optimizer", "sgd"].origin == "built-in"
    assert [kind.name for kind in list_kinds("model")][-1] == "small_conv"
    with pytest.raises(PluginError, match=r"there is no group 'modle'\. Did you mean model\?"):
        list_kinds("modle")


def test_the_command_lists_them_as_json_too(cli: Cli) -> None:
    done = cli("kinds", "model", "--plugin", str(SMALL_CONV), "--json")
    listed = json.loads(done.stdout.splitlines()[-1])
    assert {"group": "model", "name": "mlp"}.items() <= listed[0].items()
    assert listed[-1]["name"] == "small_conv"


def test_a_schedule_loads_its_plugins_from_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(SMALL_CONV.read_bytes())
    (tmp_path / "space.yaml").write_text("space: {data: {kind: digits}, model: small_conv}")
    file = tmp_path / "weekly.yaml"
    file.write_text("space: space.yaml\nplugins: [mine.py]\n")
    assert load_schedule(file).space().name == "space"
    assert kinds("model")["small_conv"].origin == f"file {tmp_path / 'mine.py'}"
    file.write_text("space: space.yaml\nplugins: [other.py]\n")
    with pytest.raises(SpaceError, match=r"weekly.yaml:2: plugins: plug-in .*other.py cannot be read"):
        load_schedule(file)


def test_the_environment_names_plugins(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNTUNE_PLUGINS", str(SMALL_CONV))
    assert "small_conv" in cli("kinds", "model").stdout
