"""The command register: a study's model as a version in MLflow's registry."""

import json
from pathlib import Path

from pipeline.cli.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    ModelNameOption,
    StorageOption,
    StudyArgument,
    ThreadsOption,
    TrackingOption,
    WorkspaceOption,
    app,
)
from pipeline.core.printing import say
from pipeline.core.workspace import Places


@app.command()
def register(
    study: StudyArgument,
    name: ModelNameOption,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path("runs"),
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    data_dir: DataOption = None,
) -> None:
    """Register a finalized study's model in MLflow; it becomes the champion if it beats the one that is."""
    from pipeline.cli.display.console import echo
    from pipeline.registration.study import register
    from pipeline.registration.versions import outcome_lines

    places = Places(workspace, storage, tracking_uri, data_dir=data_dir)
    done = register(study, model=name, places=places, device=device, threads=threads)
    tell = echo(err=as_json)
    for line in outcome_lines(done):
        tell(line)
    if as_json:
        say(json.dumps(done.to_json()))
