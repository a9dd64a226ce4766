"""Files added to a run that is there already."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

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
