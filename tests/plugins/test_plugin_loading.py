import pickle
import sys
from pathlib import Path

import pytest

from pipeline.config.kinds import kinds
from pipeline.core.errors import PluginError
from pipeline.plugins.loading import load, load_plugins, loaded_plugins, plugin_names, unload

BLOCK = """
from typing import Literal
from torch import nn
from pipeline.plugins.contract import ModelBlock, register

class Linear(ModelBlock):
    "One layer."
    kind: Literal["linear"] = "linear"
    bias: bool = True
    "Whether it has a bias."

@register(Linear)
def build(block, input_shape, num_outputs):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs, bias=block.bias))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "linear.py"
    path.write_text(BLOCK)
    return path


def _refusal(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(PluginError) as refused:
        load_plugins([path])
    assert loaded_plugins() == ()
    assert kinds("model").keys() == {name for name, row in kinds("model").items() if row.origin == "built-in"}
    return str(refused.value)


def test_a_file_adds_its_kinds_with_description_and_origin(file: Path) -> None:
    load_plugins([file])
    row = kinds("model")["linear"]
    assert (row.description, row.origin) == ("One layer.", f"file {file}")
    assert row.block.model_fields["bias"].description == "Whether it has a bias."
    (plugin,) = loaded_plugins()
    assert (plugin.short_name, len(plugin.version), plugin_names()) == ("linear.py", 64, [str(file)])
    load_plugins([file, str(file)])  # again is not twice
    assert loaded_plugins() == (plugin,)


def test_a_file_that_has_changed_is_loaded_anew(file: Path) -> None:
    load_plugins([file])
    file.write_text(BLOCK.replace("One layer.", "A layer."))
    load_plugins([file])
    assert kinds("model")["linear"].description == "A layer."
    assert len(loaded_plugins()) == 1


def test_another_process_loads_what_was_loaded_here_and_not_what_the_file_says_by_then(file: Path) -> None:
    load_plugins([file])
    block = kinds("model")["linear"].block.model_validate({})
    plugins, blocks = pickle.dumps(loaded_plugins()), pickle.dumps(block)
    unload(loaded_plugins()[0])
    file.write_text("raise AssertionError")
    load(pickle.loads(plugins))
    assert type(pickle.loads(blocks)) is kinds("model")["linear"].block is not type(block)


def test_a_module_is_known_by_the_hash_of_its_source(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "a_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("from . import linear")
    file.rename(package / "linear.py")
    monkeypatch.syspath_prepend(tmp_path)
    load_plugins(["a_package_of_a_test"])
    (plugin,) = loaded_plugins()
    assert kinds("model")["linear"].origin == "module a_package_of_a_test"
    unload(plugin)
    for name in [name for name in sys.modules if name.startswith("a_package_of_a_test")]:
        monkeypatch.delitem(sys.modules, name)
    (package / "linear.py").write_text(BLOCK + "# changed\n")
    with pytest.raises(PluginError, match="is another one in this process"):
        load([plugin])
    assert "linear" not in kinds("model")


def test_what_is_no_plugin_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    with pytest.raises(PluginError, match=r"bad.py cannot be read: No such file.*\. Give the path of a Python file"):
        load_plugins([file])
    with pytest.raises(PluginError, match=r"there is no module nowhere\.at_all, nor a file of that name"):
        load_plugins(["nowhere.at_all"])
    assert "must register a kind, and registers none" in _refusal(file, "x = 1")
    assert _refusal(file, "x = 1\n1 / 0\n").endswith(f"cannot be loaded: {file}:2: ZeroDivisionError: division by zero")
    assert f"{file}:1: SyntaxError: invalid syntax" in _refusal(file, "x = = 1")
    assert f"{file}:2: SystemExit: 3" in _refusal(file, "import sys\nsys.exit(3)")
    assert f"{file}:1: ModuleNotFoundError: No module named 'nowhere'" in _refusal(file, "import nowhere")


def test_a_kind_that_clashes_or_is_none_is_refused_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    said = _refusal(file, BLOCK.replace('"linear"', '"mlp"'))
    assert said == f"{file}:12: model has a kind mlp already (built-in). Give Linear another kind"
    said = _refusal(file, BLOCK.replace('kind: Literal["linear"] = "linear"', ""))
    assert said.startswith(f"{file}:12: Linear.kind must be one fixed word. Write kind: Literal[")
    said = _refusal(file, "from pipeline.plugins.contract import register\nregister(int)(print)")
    assert said.startswith(
        f"{file}:2: register needs a block: a subclass of ModelBlock, OptimizerBlock, ...; got <class"
    )
    assert "has a kind linear already" in _refusal(file, BLOCK + BLOCK)


def test_a_block_of_a_notebook_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from typing import Literal

    from pipeline.plugins.contract import ModelBlock, register

    class Mine(ModelBlock):
        kind: Literal["mine"] = "mine"

    monkeypatch.setattr(Mine, "__module__", "__main__")
    with pytest.raises(PluginError, match=r"workers cannot find .*Mine, which is defined in a notebook or script"):
        register(Mine)(print)
