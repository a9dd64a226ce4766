"""What the contracts of import-linter (`make lint`, in pyproject.toml) cannot say."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_rooms_init_says_what_it_is_and_imports_nothing() -> None:
    """So that one file of a room can be used without what the others import."""
    for file in (ROOT / "pipeline").glob("*/**/__init__.py"):
        (only,) = ast.parse(file.read_text()).body
        assert isinstance(only, ast.Expr), file
        assert isinstance(only.value, ast.Constant), file


def test_dags_import_nothing_of_the_pipeline() -> None:
    """Airflow has an environment of its own."""
    for file in (ROOT / "dags").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "pipeline" for name in names), file


def test_checking_and_watching_need_no_torch() -> None:
    """Their modules import what needs it when it is needed."""
    modules = "pipeline.space.files, pipeline.workers.run, pipeline.display.progress"
    code = f"import {modules}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_optuna_keeps_to_itself_is_used_in_storage_alone() -> None:
    private = re.compile(
        r"optuna(\.\w+)*\._|(?<!self)\._(storage|study_id|trial_id|cached_frozen_trial)\b|_CachedStorage"
    )
    users = {
        str(file.relative_to(ROOT / "pipeline"))
        for file in (ROOT / "pipeline").rglob("*.py")
        if private.search(file.read_text())
    }
    assert {user for user in users if not user.startswith("storage/")} == set()
