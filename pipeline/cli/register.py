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
from pipeline.core.printing import say
from pipeline.core.workspace import Places


@app.command()
@grouped
def register(
    study: StudyArgument,
    name: ModelNameOption,
    *,
    compute: Annotated[Compute, group(compute_of, "threads", "device")],
    as_json: JsonOption = False,
    places: Annotated[Places, group(workspace_of, "workspace", "storage", "tracking_uri", "data_dir")],
) -> None:
    """Register a finalized study's model in MLflow; it becomes the champion if it beats the one that is."""
    from pipeline.cli.display.console import echo
    from pipeline.registration.study import register
    from pipeline.registration.versions import outcome_lines

    done = register(study, model=name, places=places, compute=compute)
    tell = echo(err=as_json)
    for line in outcome_lines(done):
        tell(line)
    if as_json:
        say(json.dumps(done.to_json()))
