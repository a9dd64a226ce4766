"""Who may import what: the rooms of the design."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "pipeline").rglob("*.py"))
# From a package to the places (below pipeline/) that may import it.
ALLOWED = {
    "optuna": ("study/", "space.py", "space_file.py", "results/", "report/", "schedule/"),
    "optuna_dashboard": ("study/dashboard.py",),
    "mlflow": ("tracking/", "export/served_model.py"),
    "torch": (
        "data/",
        "export/",
        "models/",
        "training/",
        "study/kept_models.py",
        "study/worker.py",
        "results/ensembles.py",
        "results/inputs.py",
        "results/kept.py",
        "results/last_measurement.py",
        "results/measuring.py",
        "results/train_report.py",
    ),
    "timm": ("models/",),
    "onnx": ("export/",),
    "onnxruntime": ("export/",),
    "matplotlib": ("figures/",),
    "scipy": ("results/intervals.py",),
    "typer": ("cli/", "console.py"),
}
# From a room to the rooms below it: it may import these and itself.
BELOW = {
    "data": (),
    "models": (),
    "training": ("data", "models"),
    "export": ("data", "models", "training"),
    "figures": (),
    "tracking": ("figures",),
    "study": ("data", "models", "training", "tracking"),
    "results": ("data", "models", "training", "export", "figures", "tracking", "study"),
    "report": ("results", "figures", "tracking", "study"),
    "schedule": ("data", "training", "tracking", "study", "results", "report"),
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}"


@pytest.mark.parametrize("package", ALLOWED)
def test_each_package_stays_in_its_room(package: str) -> None:
    users = {
        str(file.relative_to(ROOT / "pipeline"))
        for file in FILES
        if any(name.split(".")[0] == package for name in imports(file))
    }
    assert users
    assert {user for user in users if not user.startswith(ALLOWED[package])} == set()


@pytest.mark.parametrize("room", BELOW)
def test_imports_run_downward(room: str) -> None:
    rooms = {
        name.split(".")[1]
        for file in (ROOT / "pipeline" / room).rglob("*.py")
        for name in imports(file)
        if name.startswith("pipeline.") and name.split(".")[1] in BELOW
    }
    assert rooms - {room} <= set(BELOW[room])


def test_dags_import_nothing_of_the_pipeline() -> None:
    for file in (ROOT / "dags").rglob("*.py"):
        assert not any(name.split(".")[0] == "pipeline" for name in imports(file))


def test_checking_and_watching_need_no_torch() -> None:
    code = "import pipeline.space_file, pipeline.study.run, pipeline.progress, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
