"""The command that shows a whole study on a page: report."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import StorageOption, StudyArgument, TrackingOption, WorkspaceOption, app
from pipeline.core.printing import say
from pipeline.core.workspace import Places


@app.command()
def report(
    study: StudyArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the report goes; default: the workspace.")
    ] = None,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """Write a study's report: one HTML file with its answer, figures, failures, and how to repeat it."""
    from pipeline.report.page import attach_report, write_report

    places = Places(workspace, storage, tracking_uri)
    file = write_report(places, study, out)
    say(f"report: {file}")
    attach_report(places, study, file)
