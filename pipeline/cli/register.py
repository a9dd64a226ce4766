"""The command register: a study's model as a version in MLflow's registry."""

import json
from typing import Annotated

from pipeline.cli.groups import group, grouped
from pipeline.cli.options import (
    JsonOption,
    ModelNameOption,
    StudyArgument,
    app,
    compute_of,
    workspace_of,
)
from pipeline.core.compute import Compute
from pipeline.core.printing import print_line
from pipeline.core.workspace import Workspace


@app.command()
@grouped
def register(
    study: StudyArgument,
    name: ModelNameOption,
    *,
    compute: Annotated[Compute, group(compute_of, "threads", "device")],
    as_json: JsonOption = False,
    workspace: Annotated[Workspace, group(workspace_of, "workspace", "storage", "tracking_uri", "data_dir")],
) -> None:
    """Register a finalized study's model in MLflow; it becomes the champion if it beats the current one."""
    from pipeline.display.console import line_printer
    from pipeline.registration.study import register
    from pipeline.registration.versions import outcome_lines

    done = register(study, model=name, workspace=workspace, compute=compute)
    write_line = line_printer(err=as_json)
    for line in outcome_lines(done):
        write_line(line)
    if as_json:
        print_line(json.dumps(done.to_json()))
