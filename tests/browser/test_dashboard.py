"""Optuna's dashboard on a study's storage, in a real browser."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipeline.core.errors import PortError, StudyError
from pipeline.core.workspace import Workspace
from pipeline.storage.dashboard import serve_dashboard
from tests.pages import served
from tests.servers import free_port


def test_the_dashboard_shows_a_study_and_ends_with_ctrl_c(finished: dict[str, Any], page: Page, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}/dashboard"
    with served(tmp_path, address, "dashboard", "--workspace", finished["workspace"], "--port", port) as said:
        assert said == f"serving {address} (Ctrl-C ends it)\n"
        page.goto(address)
        page.get_by_role("link", name="small").first.click()
        for part in ("Marker size:", "Hyperparameter Importance", "Timeline", "optimizer.kind"):
            expect(page.get_by_text(part, exact=True).first).to_be_visible(timeout=30_000)
        page.goto(f"{address}/studies/1/trials")
        for number in range(finished["json"]["trials"]["complete"]):
            expect(page.get_by_text(re.compile(f"^Trial {number}")).first).to_be_visible(timeout=30_000)


def test_a_dashboard_that_cannot_be_served_says_why(
    finished: dict[str, Any], tmp_path: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudyError, match="no study in the workspace"):
        serve_dashboard(Workspace(tmp_path), free_port(), notify=print)
    with pytest.raises(PortError, match=f"port {taken_port} cannot be used: Address already in use"):
        serve_dashboard(Workspace(finished["workspace"]), taken_port, notify=print)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(StudyError, match=r"pip install 'dnntune\[dashboard\]'"):
        serve_dashboard(Workspace(finished["workspace"]), free_port(), notify=print)
