"""MLflow's page on the store that holds a workspace's studies."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable

from pipeline.errors import TrackingError
from pipeline.places import Places
from pipeline.tracking.store import find_runs, open_client, prepare_environment
from pipeline.tracking.view import view_path

HOST = "127.0.0.1"


def serve(places: Places, port: int, say: Callable[[str], None]) -> None:
    """Prints the address of each study's comparison, and serves the page until Ctrl-C.

    Where the store is a server already, only the addresses are printed.

    Args:
        places: Which store and experiment.
        port: Port on this machine.
        say: Prints a line.

    Raises:
        TrackingError: Nothing has been logged yet, or the port is in use.
    """
    if places.tracking_uri is None and not (places.workspace / "mlflow.db").exists():
        raise TrackingError(f"nothing is logged in the workspace {places.workspace} yet: dnntune run makes a study")
    is_server = places.tracking_url.startswith(("http://", "https://"))
    address = places.tracking_url.rstrip("/") if is_server else f"http://{HOST}:{port}"
    for study, path in study_views(places):
        say(f"{study}: {address}{path}")
    if is_server:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise TrackingError(f"port {port} is in use: choose another one with --port") from None
    say(f"serving {address} (Ctrl-C ends it; the page takes some seconds to come up)")
    prepare_environment()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", places.tracking_url]
    if places.artifacts is not None:
        command += ["--default-artifact-root", places.artifacts.as_uri()]
    try:
        code = subprocess.call([*command, "--host", HOST, "--port", str(port), "--workers", "1"], env=os.environ)
    except KeyboardInterrupt:
        return
    if code:
        raise TrackingError(f"mlflow ui ended with exit code {code}")


def study_views(places: Places) -> list[tuple[str, str]]:
    """Returns every study in the experiment with the path of its prepared comparison."""
    client = open_client(places.tracking_url)
    experiment = client.get_experiment_by_name(places.experiment)
    if experiment is None:
        return []
    runs = find_runs(client, experiment.experiment_id, "tags.kind = 'study'")
    names = sorted({run.data.tags["study"] for run in runs})
    return [(name, view_path(experiment.experiment_id, name)) for name in names]
