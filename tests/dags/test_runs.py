"""Runs of a schedule's DAG in a real Airflow, task after task."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.workspace import Workspace
from pipeline.scheduling.run import studies_of
from pipeline.storage.open import open_existing
from tests.dags.real_airflow import NIGHTLY, Airflow

MONDAY, TUESDAY = "2026-11-23T03:00:00+00:00", "2026-11-24T03:00:00+00:00"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told() -> Iterator[list[str]]:
    """What has been posted to a webhook; where it is, is the list's first entry."""
    texts: list[str] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            texts.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        texts.append(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield texts
        server.shutdown()


@pytest.fixture(scope="module")
def airflow(new_airflow: type[Airflow], tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Airflow:
    made = new_airflow(tmp_path_factory.mktemp("runs") / "airflow")
    made.environment |= {"DNNTUNE_WEBHOOK": "chat", "AIRFLOW_CONN_CHAT": told[0]}
    made.write("nightly.yaml", NIGHTLY)
    made.call("-m", "airflow", "db", "migrate")
    return made


@pytest.fixture(scope="module")
def first(airflow: Airflow) -> dict[str, Any]:
    return airflow.do("run", "nightly", "{}", MONDAY)


def studies(airflow: Airflow) -> list[str]:
    workspace = Workspace(Path(airflow.environment["DNNTUNE_FOLDER"]) / "runs")
    return [study.study_name for study in studies_of(open_existing(workspace), "nightly")]


def test_a_run_ends_with_a_champion_and_says_so(airflow: Airflow, first: dict[str, Any], told: list[str]) -> None:
    assert first["state"] == "success"
    tasks = first["tasks"]
    assert {task["state"] for task in tasks.values()} == {"success"}
    assert [tasks[f"worker {number}"]["value"]["left"] for number in (0, 1)] == [0, 0]
    assert (tasks["register"]["value"]["version"], tasks["register"]["value"]["is_champion"]) == (1, True)
    (event,) = first["events"]
    assert event == tasks["report"]["value"]
    assert Path(event["report"]).suffix == ".html"
    assert 0 < event["best_valid_accuracy"] <= 1
    assert event["registered"]["reason"] == "there was no champion before"
    assert len(studies(airflow)) == 1
    assert told[1].startswith("dnntune: nightly has a new champion\ndigits, version 1: there was no champion before")


def test_a_run_that_is_cleared_makes_nothing_twice(airflow: Airflow, first: dict[str, Any], told: list[str]) -> None:
    before = (studies(airflow), len(told))
    again = airflow.do("run", "nightly", "{}", MONDAY)
    assert (again["state"], again["run_id"]) == ("success", first["run_id"])
    assert again["tasks"]["worker 0"]["value"] == first["tasks"]["worker 0"]["value"]
    register = again["tasks"]["register"]["value"]
    assert (register["version"], register["is_new"]) == (1, False)
    assert (studies(airflow), len(told)) == before


def test_a_later_run_keeps_or_replaces_the_champion(airflow: Airflow, first: dict[str, Any], told: list[str]) -> None:
    assert first["state"] == "success"
    num_told = len(told)
    second = airflow.do("run", "nightly", '{"workers": 1, "trials": 4}', TUESDAY)
    assert second["state"] == "success"
    tasks = second["tasks"]
    assert tasks["prepare"]["value"]["baselines"] == 2
    assert [name for name in tasks if name.startswith("worker ")] == ["worker 0"]
    assert tasks["worker 0"]["value"]["trials"]["complete"] == 4
    register = tasks["register"]["value"]
    assert (register["version"], register["is_new"]) == (2, True)
    assert register["champion"] == (2 if register["is_champion"] else 1)
    assert len(told) == num_told + register["is_champion"]


def test_a_mistake_fails_in_the_first_task_without_another_attempt(airflow: Airflow, told: list[str]) -> None:
    done = airflow.do("run", "nightly", '{"set": ["epochs=0"]}')
    assert done["state"] == "failed"
    assert done["tasks"]["check"]["state"] == "failed"
    assert done["tasks"]["prepare"]["state"] == "upstream_failed"
    assert told[-1].startswith("dnntune: nightly: check failed\ncheck ended with 2\ndnntune: --set epochs=0")
