"""Every script in examples/ runs as it is, from a folder in which there is nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LONG

EXAMPLES = Path(__file__).parents[1] / "examples"
# What each prints, so that one that does nothing is noticed.
SCRIPTS = {
    "digits.py": r"test accuracy: 0\.[6-9]",
    "own_images.py": r"test accuracy: 0\.[5-9]\d*\n\d+ of 26 sevens",
    "own_model.py": r"dict: model\.gate: must be one of sigmoid, tanh; got 'softsign'",
    "imbalanced.py": r"best macro F1: 0\.[5-9]",
    "served_model.py": r'served: {"label": "0", "probability": [01]\.',
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_page_lists_every_script() -> None:
    listed = re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text("utf-8"))
    assert sorted(listed) == sorted(file.name for file in EXAMPLES.glob("*.py"))
    assert set(SCRIPTS) == set(listed) - {"gated_mlp.py"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=6 * LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SCRIPTS[script], done.stdout), done.stdout + done.stderr
