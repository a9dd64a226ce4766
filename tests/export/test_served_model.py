"""An export behind MLflow's pyfunc: as `mlflow models serve` runs it, in processes of their own."""

import ast
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from pipeline.core.workspace import Workspace
from pipeline.data.loading import load_test
from pipeline.export.reading import load_export
from pipeline.export.writing import Exported
from pipeline.registration.registry import Registry
from pipeline.registration.versions import SERVED_MODEL, Candidate, enter
from pipeline.tracking.store import experiment_id
from tests.export.conftest import Trained
from tests.servers import free_port

FIGURES = {"study": "s", "trial": 3, "seed": 5, "test_accuracy": 0.5, "test_interval": (0.4, 0.6), "test_images": 359}
# An import of None fails: what a server has no need of is as if it were not installed.
WITHOUT_DNNTUNE = """
import json, sys
for name in ("torch", "pipeline", "timm", "optuna", "onnx"):
    sys.modules[name] = None
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
found = model.predict(np.array(json.load(sys.stdin), dtype=np.uint8))
print(json.dumps({name: values.tolist() for name, values in found.items()}))
"""
IMAGES = 50


class Served(NamedTuple):
    """A registered export: the command that serves it, the MLflow model's folder, images and what they should give."""

    command: str
    folder: Path
    images: torch.Tensor
    labels: list[str]
    probabilities: torch.Tensor


@pytest.fixture(scope="module")
def served(
    exported: Exported, trained: Trained, mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    workspace = Workspace(tmp_path_factory.mktemp("served"))
    shutil.copy(mlflow_tables, workspace.root / "mlflow.db")
    export = shutil.copytree(exported.folder, workspace.root / "export")
    registry = Registry(workspace.tracking_url, "digits")
    experiment = experiment_id(registry.client, "dnntune", workspace.artifacts)
    test = load_test(trained.config.data, trained.data)
    assert test is not None
    found = enter(registry, Candidate(export, FIGURES, test, registry.client.create_run(experiment).info.run_id))
    (folder,) = [file.parent for file in workspace.root.rglob("MLmodel")]
    images = test.images[:IMAGES]
    loaded = load_export(export)
    probabilities = loaded.probabilities(images)
    return Served(found.serve, folder, images, [loaded.class_names[i] for i in probabilities.argmax(1)], probabilities)


@contextmanager
def server(command: str, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Runs a command that serves a model on a free port, and gives its address; both of its processes end then."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec env {command.replace('--port 5001', f'--port {port}')}"],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answer(address: str, images: Any) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps({"inputs": images}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def wait_until_it_answers(address: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/ping").close()
        except urllib.error.URLError:
            time.sleep(0.2)
        else:
            return
    pytest.fail((folder / "log").read_text())


@pytest.mark.slow
def test_a_server_answers_with_what_the_export_predicts(served: Served, tmp_path: Path) -> None:
    assert shlex.split(served.command)[1:5] == ["mlflow", "models", "serve", "--model-uri"]
    with server(served.command, tmp_path) as (address, process):
        wait_until_it_answers(address, process, tmp_path)
        found = answer(address, served.images.tolist())["predictions"]
        assert found["labels"] == served.labels
        assert torch.allclose(torch.tensor(found["probabilities"]), served.probabilities, atol=1e-4)
        example = json.loads((served.folder / "serving_input_example.json").read_text())
        assert answer(address, example["inputs"])["predictions"]["labels"] == served.labels[:1]
        for images, reason in (([[[[3]]]], "does not match expected shape"), ([[[[300]]]], "out of bounds for uint8")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                answer(address, images)
            assert refused.value.code == 400
            assert reason in json.load(refused.value)["message"]


@pytest.mark.slow
def test_a_server_does_not_start_with_a_file_that_has_changed(served: Served, tmp_path: Path) -> None:
    folder = shutil.copytree(served.folder, tmp_path / "model")
    flip_a_byte(folder / "artifacts" / "export" / "model.onnx")
    command = f"mlflow models serve --model-uri {shlex.quote(str(folder))} --env-manager local --port 5001"
    with server(command, tmp_path) as (_, process):
        assert process.wait(timeout=120) != 0
    assert "model.onnx is not as it was exported" in (tmp_path / "log").read_text()


def test_neither_torch_nor_dnntune_is_needed(served: Served) -> None:
    done = load_without_dnntune(served.folder, served.images)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    found = json.loads(done.stdout)
    assert found["labels"] == served.labels
    assert torch.allclose(torch.tensor(found["probabilities"]), served.probabilities, atol=1e-4)


@pytest.mark.parametrize("name", ["model.onnx", "labels.json", "model.safetensors", "SHA256SUMS"])
def test_a_flipped_byte_is_noticed(name: str, served: Served, tmp_path: Path) -> None:
    verify = functions_of(SERVED_MODEL)["verify"]
    export = shutil.copytree(served.folder / "artifacts" / "export", tmp_path / "export")
    verify(export)
    flip_a_byte(export / name)
    with pytest.raises(ValueError, match="is not as it was exported"):
        verify(export)


def test_it_imports_nothing_that_a_server_has_not() -> None:
    tree = ast.parse(SERVED_MODEL.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    packages = {str(module).split(".")[0] for module in modules}
    assert packages - set(sys.stdlib_module_names) == {"mlflow", "numpy", "onnxruntime"}


def load_without_dnntune(folder: Path, images: torch.Tensor) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_DNNTUNE, str(folder)],
        input=json.dumps(images.tolist()),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


def functions_of(script: Path) -> dict[str, Any]:
    """Runs a file as MLflow does, under no module's name."""
    names: dict[str, Any] = {"__name__": "served", "__file__": str(script)}
    exec(compile(script.read_text(), script, "exec"), names)
    return names


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
