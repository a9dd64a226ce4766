"""Files and images added to a run that is there already."""

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.workspace import Workspace
from pipeline.tracking.naming import NOTE
from pipeline.tracking.note import with_chosen
from pipeline.tracking.store import open_store, unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient


def attach(client: "MlflowClient", run_id: str, files: Mapping[str, bytes]) -> None:
    """Adds files to a run's artifacts, in place of those with the same name.

    Args:
        client: Its store.
        run_id: The run.
        files: From names to contents.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.write_bytes(content)
            client.log_artifact(run_id, str(path))


def put_above(workspace: Workspace, run_id: str, paragraph: str, files: Mapping[str, bytes]) -> None:
    """Puts what was chosen above a run's description, and adds files to it.

    Raises:
        TrackingError: The store cannot be used.
    """
    from mlflow.exceptions import MlflowException

    client = open_store(workspace)
    try:
        note = client.get_run(run_id).data.tags.get(NOTE, "")
        client.set_tag(run_id, NOTE, with_chosen(note, paragraph))
        attach(client, run_id, files)
    except (MlflowException, OSError) as error:
        raise unusable(workspace.tracking_url, error) from None


def show_image(client: "MlflowClient", run_id: str, name: str, image: bytes) -> None:
    """Adds an image to those that MLflow shows side by side, runs beside runs.

    The page shows the images of one step at a time, so that all runs have theirs at the same one. Of images with the
    same name and step it shows one: to add one again does no harm.

    Args:
        client: Its store.
        run_id: The run.
        name: What it is: equal in all runs.
        image: The contents of a PNG file.
    """
    import PIL.Image

    client.log_image(run_id, PIL.Image.open(io.BytesIO(image), formats=["PNG"]), key=name, step=0, synchronous=True)
