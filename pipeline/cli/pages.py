"""Commands that serve a page on this machine: ui, dashboard."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import ExperimentOption, StorageOption, StudiesArgument, TrackingOption, WorkspaceOption, app
from pipeline.core.printing import say
from pipeline.core.workspace import Places


@app.command()
def ui(
    studies: StudiesArgument = None,
    workspace: WorkspaceOption = Path("runs"),
    tracking_uri: TrackingOption = None,
    experiment: ExperimentOption = "dnntune",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")] = 5000,
) -> None:
    """Open MLflow's page on the right store; prints the address of each study's comparison, or of the studies named."""
    from pipeline.tracking.ui.page import serve

    serve(Places(workspace, None, tracking_uri, experiment), port, studies=studies or (), say=say)


@app.command()
def dashboard(
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page on this machine.")] = 8080,
) -> None:
    """Open Optuna's dashboard on the studies: history, importance, slices, contours."""
    from pipeline.study.dashboard import serve_dashboard

    serve_dashboard(Places(workspace, storage), port, say=say)
