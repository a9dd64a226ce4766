"""The command that shows a whole study on a page: report."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import StudyArgument, app, workspace_of
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace


@app.command()
@grouped
def report(
    study: StudyArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File for the report; default: in the workspace.")
    ] = None,
    *,
    workspace: Annotated[Workspace, group(workspace_of, "workspace", "storage", "tracking_uri")],
) -> None:
    """Write a study's report: one HTML file with its result, figures, failures, and how to reproduce it."""
    from pipeline.report.page import attach_report, write_report

    file = write_report(workspace, study, out)
    print_line(f"report: {file}")
    attach_report(workspace, study, file)
