"""Addresses of databases, and workspaces whose names have characters that mean something in addresses."""

import os
import sqlite3
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import StoreUrlError, WorkspaceError
from pipeline.core.filesystem.folders import use_workspace
from pipeline.core.stores.store_urls import mlflow_url, parsed, sqlite_file, sqlite_url
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.storage.internals import storage_of
from pipeline.storage.open import open_existing, open_storage
from pipeline.study.studies import open_study
from pipeline.tracking.store import experiment_id, open_client
from tests.command import dnntune

ODD = "w?mode=ro#x%41 é@a:b"
PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


@given(PATHS)
@example(ODD)
@example("a:b@c/?password=x&y=%2e%2e#")
@example(":memory:")
def test_a_path_comes_back_as_it_was(text: str) -> None:
    path = Path("/w") / text
    assert sqlite_file(sqlite_url(path)) == path
    assert sqlite_file(mlflow_url(sqlite_url(path))) == path
    assert sqlalchemy.make_url(sqlite_url(path).reveal()).query == {}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
        ("postgresql+psycopg://me@host:55xx/db", "the port must be a number"),
        ("postgresql+psycopg://me@host:99999/db", "between 1 and 65535"),
        ("mysql+pymysql://host:-1/db", "port"),
        ("nosuch://host/db", "no kind of database called nosuch"),
        ("postgres://host/db", "no kind of database called postgres"),
        ("nonsense", "no address of a database"),
        ("", "no address of a database"),
    ],
)
def test_a_mistake_in_an_address_is_told_at_once(url: str, said: str) -> None:
    with pytest.raises(StoreUrlError) as caught:
        open_storage(StoreUrl(url))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://h:55xx/d"])
def test_so_it_is_in_mlflows(url: str) -> None:
    with pytest.raises(StoreUrlError, match=r"in memory|port must be a number"):
        open_client(StoreUrl(url))


def test_passwords_stay_out_of_it() -> None:
    with pytest.raises(StoreUrlError) as caught:
        parsed(StoreUrl("postgresql+psycopg://me:hunter2@host:55xx/db"))
    assert "hunter2" not in str(caught.value)


def test_a_workspace_may_be_called_anything(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ODD)
    optuna.create_study(study_name="s", storage=open_storage(workspace.storage_url))
    assert open_study(workspace, "s").study_name == "s"
    client = open_client(workspace.tracking_url)
    run = client.create_run(experiment_id(client, "dnntune", workspace.artifacts)).info.run_id
    client.log_text(run, "text", "file.txt")
    assert [file.path for file in client.list_artifacts(run)] == ["file.txt"]
    assert [entry.name for entry in tmp_path.iterdir()] == [ODD]
    assert {"studies.db", "mlflow.db", "mlartifacts"} <= {entry.name for entry in workspace.root.iterdir()}


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/x", "/proc/self", "/sys"])
def test_a_workspace_that_cannot_be_written_to(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"the workspace .* cannot be written to: .*--workspace"):
        use_workspace(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"is not\. Name another one"):
        open_existing(Workspace(tmp_path / "file"))


@pytest.mark.parametrize("damage", ["text", "cut", "pages"])
def test_a_damaged_study_storage_is_one_line(damage: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    study = optuna.create_study(study_name="s", storage=open_storage(workspace.storage_url))
    for _ in range(50):
        study.tell(study.ask(), 1.0)
    storage_of(study).remove_session()
    file = tmp_path / "studies.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = file.read_bytes()
    if damage == "text":
        file.write_text("not a database" * 1000)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 3])
    else:
        file.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    done = dnntune("leaderboard", "s", "--workspace", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dnntune: ")
