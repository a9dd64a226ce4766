"""MLflow's page on the store that holds a workspace's studies."""

import os
import sys
from collections.abc import Callable, Sequence

from pipeline.core.errors import TrackingError
from pipeline.core.processes.guard import run_guarded
from pipeline.core.processes.ports import HOST, OWN_NAMES, check_port
from pipeline.core.stores.urls import StoreUrl
from pipeline.core.workspace import Workspace
from pipeline.tracking.store import find_runs, open_store, prepare_environment
from pipeline.tracking.ui.comparison import save_comparison
from pipeline.tracking.ui.view import view_path


def serve(workspace: Workspace, port: int, *, studies: Sequence[str], notify: Callable[[str], None]) -> None:
    """Prints the address of each study's comparison, and serves the page until Ctrl-C.

    Where the store is a server already, only the addresses are printed.

    Args:
        workspace: Which store and experiment.
        port: Port on this machine.
        studies: Names of studies: the address of one view of all of them is printed instead. None for each study's own.
        notify: Prints a line.

    Raises:
        TrackingError: Nothing has been logged yet, or studies cannot be compared.
        PortError: The port cannot be used.
    """
    if workspace.tracking_uri is None and not (workspace.root / "mlflow.db").exists():
        raise TrackingError(f"nothing is logged in the workspace {workspace.root} yet. Create a study with dnntune run")
    is_server = workspace.tracking_url.startswith(("http://", "https://"))
    address = workspace.tracking_url.rstrip("/") if is_server else f"http://{HOST}:{port}"
    if not is_server:
        check_port(port)
    for shown, path in _views(workspace, studies):
        notify(f"{shown}: {address}{path}")
    if is_server:
        return
    notify(f"serving {address} (Ctrl-C ends it; the page takes some seconds to come up)")
    prepare_environment()
    command = [sys.executable, "-m", "mlflow", "ui"]
    if workspace.artifacts is not None:
        command += ["--default-artifact-root", workspace.artifacts.as_uri()]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    code = run_guarded(command, _environment(workspace.tracking_url))
    if code:
        raise TrackingError(f"mlflow ui ended with exit code {code}")


def _environment(store: StoreUrl) -> dict[str, str]:
    """Returns a server's environment, which only its owner can read: arguments are shown to everybody.

    MLflow by itself also answers to names of private networks (`10.*`), and so to any name that begins like one.
    """
    hosts = ",".join(f"{name},{name}:*" for name in OWN_NAMES)
    return {"MLFLOW_SERVER_ALLOWED_HOSTS": hosts, **os.environ, "MLFLOW_BACKEND_STORE_URI": store.reveal()}


def _views(workspace: Workspace, studies: Sequence[str]) -> list[tuple[str, str]]:
    if len(set(studies)) > 1:
        return [_comparison(workspace, studies)]
    views = study_views(workspace)
    named = [(study, path) for study, path in views if not studies or study in studies]
    if studies and not named:
        raise TrackingError(f"no study {studies[0]} is logged here. There are {', '.join(name for name, _ in views)}")
    return named


def _comparison(workspace: Workspace, studies: Sequence[str]) -> tuple[str, str]:
    client = open_store(workspace)
    experiment = client.get_experiment_by_name(workspace.experiment)
    if experiment is None:
        raise TrackingError(f"MLflow has no experiment {workspace.experiment} here. Name it with --experiment")
    return " and ".join(studies), save_comparison(client, experiment.experiment_id, studies)


def study_views(workspace: Workspace) -> list[tuple[str, str]]:
    """Returns every study in the experiment with the path of its prepared comparison."""
    client = open_store(workspace)
    experiment = client.get_experiment_by_name(workspace.experiment)
    if experiment is None:
        return []
    runs = find_runs(client, experiment.experiment_id, "tags.kind = 'study'")
    names = sorted({run.data.tags["study"] for run in runs})
    return [(name, view_path(experiment.experiment_id, name)) for name in names]
