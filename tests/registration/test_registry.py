"""MLflow's registry on SQLite: versions, aliases, and the files of a version."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from pipeline.core.errors import InvalidNameError, TrackingError
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.registration.registry import CHALLENGER, CHAMPION, CHECKSUM, Registry
from pipeline.tracking.store import experiment_id

# What MLflow runs in place of `pipeline/export/served_model.py`.
SCRIPT = """
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

class Constant(PythonModel):
    def predict(self, context, model_input: np.ndarray):
        return {"labels": ["0"] * len(model_input), "probabilities": [[1.0, 0.0]] * len(model_input)}

set_model(Constant())
"""


@pytest.fixture
def registry(workspace: Path) -> Registry:
    return Registry(Workspace(workspace).tracking_url, "fashion-mnist_v1.0")


@pytest.fixture
def run(registry: Registry, workspace: Path) -> str:
    experiment = experiment_id(registry.client, "dnntune", Workspace(workspace).artifacts)
    return str(registry.client.create_run(experiment).info.run_id)


@pytest.fixture
def arguments(run: str, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "model.onnx").write_bytes(b"a network")
    (tmp_path / "script.py").write_text(SCRIPT)
    return {
        "export": tmp_path / "export",
        "script": tmp_path / "script.py",
        "example": np.zeros((1, 1, 8, 8), np.uint8),
        "num_classes": 2,
        "run": run,
        "tags": {CHECKSUM: "abc", "study": "s"},
    }


def test_a_version_belongs_to_its_run_and_has_its_files(
    registry: Registry, run: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    version = registry.add(**arguments)
    assert (version.number, dict(version.tags)) == (1, arguments["tags"])
    stored = registry.client.get_model_version(registry.model, "1")
    assert stored.run_id == run
    (output,) = registry.client.get_run(run).outputs.model_outputs
    assert registry.client.get_logged_model(output.model_id).status == "READY"
    copied = registry.download(1, tmp_path / "copy")
    assert [file.name for file in copied.iterdir()] == ["model.onnx"]
    assert (copied / "model.onnx").read_bytes() == b"a network"


def test_what_is_kept_holds_no_pickle_and_pins_all_that_a_server_needs(
    registry: Registry, arguments: dict[str, Any]
) -> None:
    registry.add(**arguments)
    folder = Path(
        mlflow.artifacts.download_artifacts(registry.client.get_model_version_download_uri(registry.model, "1"))
    )
    files = {file.name for file in folder.rglob("*") if file.is_file()}
    assert {"MLmodel", "script.py", "requirements.txt", "input_example.json", "model.onnx"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    requirements = [line.partition("==") for line in (folder / "requirements.txt").read_text().splitlines()]
    assert [name for name, _, _ in requirements] == ["mlflow", "numpy", "onnxruntime"]
    assert all(version for _, _, version in requirements)


def test_mlflows_global_store_is_left_alone(registry: Registry, arguments: dict[str, Any]) -> None:
    before = mlflow.get_tracking_uri()
    assert before != registry.uri
    registry.add(**arguments)
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_a_version_is_found_by_its_checksum(registry: Registry, arguments: dict[str, Any]) -> None:
    assert registry.find("abc") is None
    registry.add(**arguments)
    registry.add(**{**arguments, "tags": {CHECKSUM: "def"}})
    found = [registry.find(checksum) for checksum in ("abc", "def", "ghi")]
    assert [None if version is None else version.number for version in found] == [1, 2, None]


def test_an_alias_moves_from_version_to_version(registry: Registry, arguments: dict[str, Any]) -> None:
    assert registry.aliased(CHAMPION) is None
    registry.add(**arguments)
    registry.add(**arguments)
    for number in (1, 2):
        registry.alias(CHAMPION, number)
        champion = registry.aliased(CHAMPION)
        assert champion is not None
        assert champion.number == number
    assert registry.aliased(CHALLENGER) is None
    registry.unalias(CHAMPION)
    assert registry.aliased(CHAMPION) is None
    registry.unalias(CHAMPION)  # twice is as good as once


def test_a_model_that_cannot_be_packed_is_marked_and_no_version(
    registry: Registry, run: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text("raise OSError('no such thing')")
    with pytest.raises(TrackingError, match="no such thing"):
        registry.add(**arguments)
    experiment = registry.client.get_run(run).info.experiment_id
    (logged,) = registry.client.search_logged_models([experiment])
    assert logged.status == "FAILED"
    assert registry.find("abc") is None


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@champion", "-a", "a b", "'", "a" * 101])
def test_a_name_that_cannot_be_in_an_address_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidNameError, match="a registered model must"):
        Registry(StoreUrl(f"sqlite:///{tmp_path / 'never.db'}"), name)
    assert not (tmp_path / "never.db").exists()


@pytest.mark.parametrize("uri", ["sqlite:////proc/nowhere/mlflow.db", "http://127.0.0.1:9"])
def test_a_store_that_cannot_be_reached_is_named(uri: str) -> None:
    with pytest.raises(TrackingError, match=rf"MLflow at {uri} cannot be used: .* Check --tracking-uri"):
        Registry(StoreUrl(uri), "m")
