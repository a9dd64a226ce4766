"""Commands that serve a page on this machine: ui, dashboard."""

from typing import Annotated

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import PortOption, StudiesArgument, StudyWorkspace, app, workspace_of
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace


@app.command()
@grouped
def ui(
    studies: StudiesArgument = None,
    *,
    workspace: Annotated[Workspace, group(workspace_of, "workspace", "tracking_uri", "experiment")],
    port: PortOption = 5000,
) -> None:
    """Open MLflow, and print a link to a comparison of each study, or of the studies that you name."""
    from pipeline.tracking.ui.page import serve

    serve(workspace, port, studies=studies or (), notify=print_line)


@app.command()
@grouped
def dashboard(
    *,
    workspace: StudyWorkspace,
    port: PortOption = 8080,
) -> None:
    """Open Optuna's dashboard: history, importance, slices, contours."""
    from pipeline.storage.dashboard import serve_dashboard

    serve_dashboard(workspace, port, notify=print_line)
