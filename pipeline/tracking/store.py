"""Where MLflow keeps runs: a SQLite file under the workspace by default, or a server."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipeline.core.errors import TrackingError
from pipeline.core.filesystem.disk import disk_full
from pipeline.core.stores.schema_lock import schema_lock
from pipeline.core.stores.store_urls import sqlite_file
from pipeline.core.stores.urls import StoreUrl, hide
from pipeline.core.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Runs in an answer.
PAGE = 1000
# Tag of an experiment: a random id, by which a study knows the store in which it has a run, wherever that is moved.
IDENTITY = "dnntune.store"
# Tag of a study's run: what it optimizes.
METRICS = "metrics"
# Folder of a workspace for artifacts, see `pipeline.core.workspace.Workspace.artifacts`.
ARTIFACTS = "mlartifacts"
# A tracking store, and the id of an experiment in it.
Opened: TypeAlias = "tuple[MlflowClient, str]"
# Where MLflow's tables have addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# Read by MLflow when it is imported, or at each request. By itself it tries a request for four minutes, and waits two
# minutes for an answer: whoever can wait tries again himself (`pipeline.tracking.retry`).
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # it would add the uv.lock of whatever folder a command is run in to a model
}


def prepare_environment() -> None:
    """Sets what MLflow reads from the environment, without overruling the user."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def open_store(workspace: Workspace) -> "MlflowClient":
    """Opens a workspace's tracking store, wherever the workspace has been moved to; see `open_client`.

    Raises:
        TrackingError: It cannot be reached.
    """
    client = open_client(workspace.tracking_url)
    if workspace.artifacts is not None:
        _relocate(workspace.tracking_url, workspace.artifacts)
    return client


def open_experiment(workspace: Workspace) -> Opened:
    """Opens a workspace's tracking store, and its experiment, made if there is none; returns it and the latter's id.

    Raises:
        TrackingError: The store cannot be used.
    """
    client = open_store(workspace)
    from mlflow.exceptions import MlflowException

    try:
        return client, experiment_id(client, workspace.experiment, workspace.artifacts)
    except (MlflowException, OSError) as error:
        raise unusable(workspace.tracking_url, error) from None


def _relocate(uri: StoreUrl, artifacts: Path) -> None:
    """Points a workspace's own store to the workspace's artifacts, if it has been moved or copied since they were made.

    MLflow writes absolute addresses into its tables, and has no call that changes them. Ours end with the workspace's
    folder of artifacts: what stands before it is where the workspace was.

    Args:
        uri: The workspace's SQLite store.
        artifacts: Its folder for artifacts.
    """
    import sqlalchemy
    from sqlalchemy import text

    engine = sqlalchemy.create_engine(uri.reveal(), poolclass=sqlalchemy.NullPool)
    here = artifacts.as_uri()
    with engine.begin() as connection:
        locations = connection.execute(text("SELECT artifact_location FROM experiments")).scalars()
        roots = {str(place).rpartition(f"/{ARTIFACTS}/")[0] for place in locations if f"/{ARTIFACTS}/" in str(place)}
        for root in roots - {here.removesuffix(f"/{ARTIFACTS}")}:
            there = f"{root}/{ARTIFACTS}/"
            for table, column in _ADDRESSES:
                connection.execute(
                    text(
                        f"UPDATE {table} SET {column} = :here || substr({column}, :length + 1)"
                        f" WHERE substr({column}, 1, :length) = :there"
                    ),
                    {"here": f"{here}/", "there": there, "length": len(there)},
                )


def open_client(uri: str) -> "MlflowClient":
    """Opens a tracking store; makes the tables of a new database.

    Args:
        uri: MLflow's tracking URI; any text becomes a `StoreUrl`.

    Raises:
        TrackingError: It cannot be reached.
        DiskFullError: There is no space for it.
        StoreUrlError: It is a database's address with a mistake in it.
    """
    address = StoreUrl(uri)
    prepare_environment()
    import sqlalchemy.exc
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):  # MLflow sets its own levels when it is imported
        logging.getLogger(name).setLevel(logging.ERROR)
    # A database's every error is raised as well as logged, with its traceback: one line when all is over is enough.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    file = sqlite_file(address)
    try:
        with schema_lock(address), _whole_or_not_at_all(file):
            client = MlflowClient(tracking_uri=address.reveal())
            client.search_experiments(max_results=1)
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ValueError) as error:  # ValueError: no URL
        raise disk_full(error, *() if file is None else (file,)) or unusable(address, error) from None
    return client


@contextmanager
def _whole_or_not_at_all(file: Path | None) -> Iterator[None]:
    """Removes a new database for whose tables the disk had no space: MLflow cannot go on with half of them."""
    is_new = file is not None and not file.exists()
    try:
        yield
    except Exception as error:
        if file is not None and is_new and disk_full(error, file) is not None:
            file.unlink(missing_ok=True)
        raise


def unusable(uri: StoreUrl, error: Exception) -> TrackingError:
    """Returns what to tell a user whose store cannot be reached."""
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    return TrackingError(f"MLflow at {uri} cannot be used: {hide(reason)}. Check --tracking-uri")


def experiment_id(client: "MlflowClient", name: str, artifacts: Path | None) -> str:
    """Returns the experiment of this name, made if there is none.

    Args:
        client: The store.
        name: The experiment's name.
        artifacts: Folder for its artifacts; None leaves it to the server.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = None if artifacts is None else (artifacts / name).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location, tags={IDENTITY: uuid.uuid4().hex}))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def identity(client: "MlflowClient", experiment: str) -> str:
    """Returns the identity of an experiment in its store; gives it one if somebody else has made it."""
    if (known := client.get_experiment(experiment).tags.get(IDENTITY)) is None:
        client.set_experiment_tag(experiment, IDENTITY, uuid.uuid4().hex)
        known = client.get_experiment(experiment).tags[IDENTITY]
    return str(known)


def is_active(client: "MlflowClient", run_id: str) -> bool:
    """Returns whether the store has a run, and it has not been deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def find_runs(client: "MlflowClient", experiment: str, *conditions: str) -> "list[Run]":
    """Returns all runs of an experiment that meet conditions in MLflow's filter language, however many."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], " and ".join(conditions), max_results=PAGE, page_token=token)
        runs += page
        if not (token := page.token):
            return runs
