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
    "optuna": (
        "analysis/",
        "cli/display/study_list.py",
        "evaluation/",
        "finalize/",
        "report/",
        "scheduling/",
        "search/",
        "space/",
        "storage/",
        "study/",
        "tracking/",
        "workers/",
    ),
    "optuna_dashboard": ("study/dashboard.py",),
    "mlflow": ("tracking/", "registration/", "export/served_model.py"),
    "torch": (
        "data/",
        "evaluation/",
        "export/",
        "finalize/measurement.py",
        "models/",
        "optim/",
        "setup/",
        "study/saved_models.py",
        "training/",
        "workers/worker.py",
    ),
    "timm": ("models/",),
    "onnx": ("export/",),
    "onnxruntime": ("export/",),
    "matplotlib": ("figures/",),
    "scipy": ("evaluation/intervals.py",),
    "typer": ("cli/",),
}
# The rooms, highest first: each may import those below it, and neither those above it nor those beside it.
ROOMS = (
    ("cli",),
    ("scheduling",),
    ("report",),
    ("registration",),
    ("finalize",),
    ("analysis",),
    ("workers",),
    ("evaluation", "tracking"),
    ("export", "search", "study"),
    ("storage",),
    ("training",),
    ("optim",),
    ("setup",),
    ("data", "models"),
    ("figures",),
    ("records", "space"),
    ("config",),
    ("core",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
# A chain of steps shows its progress as the commands do.
UPWARD = {("scheduling", "cli")}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}"


def test_every_file_is_in_a_room() -> None:
    loose = {file.name for file in (ROOT / "pipeline").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}
    assert {file.relative_to(ROOT / "pipeline").parts[0] for file in FILES} - loose == set(LEVEL)


@pytest.mark.parametrize("package", ALLOWED)
def test_each_package_stays_in_its_room(package: str) -> None:
    users = {
        str(file.relative_to(ROOT / "pipeline"))
        for file in FILES
        if any(name.split(".")[0] == package for name in imports(file))
    }
    assert users
    assert {user for user in users if not user.startswith(ALLOWED[package])} == set()


@pytest.mark.parametrize("room", LEVEL)
def test_imports_run_downward(room: str) -> None:
    rooms = {
        name.split(".")[1]
        for file in (ROOT / "pipeline" / room).rglob("*.py")
        for name in imports(file)
        if name.startswith("pipeline.")
    }
    allowed = {other for other in LEVEL if LEVEL[other] > LEVEL[room]} | {room}
    assert {(room, other) for other in rooms - allowed} <= UPWARD


def test_dags_import_nothing_of_the_pipeline() -> None:
    for file in (ROOT / "dags").rglob("*.py"):
        assert not any(name.split(".")[0] == "pipeline" for name in imports(file))


def test_checking_and_watching_need_no_torch() -> None:
    modules = "pipeline.space.files, pipeline.workers.run, pipeline.cli.display.progress"
    code = f"import {modules}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
