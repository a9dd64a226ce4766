"""Where things are kept."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pipeline.core.names import check_name
from pipeline.core.stores.store_urls import mlflow_url, sqlite_url
from pipeline.core.stores.urls import StoreUrl

# Environment variables with a store's address, the first one first. Passwords belong there: everybody on a machine can
# read the arguments of a command.
STORAGE_VARIABLES = ("DNNTUNE_STORAGE",)
TRACKING_VARIABLES = ("DNNTUNE_TRACKING_URI", "MLFLOW_TRACKING_URI")


def store_url(given: str | None, variables: Sequence[str]) -> StoreUrl | None:
    """Returns an address that was given, or else the one in the first of some environment variables that has one."""
    found = given or next(filter(None, map(os.environ.get, variables)), None)
    return None if found is None else StoreUrl(found)


@dataclass(frozen=True)
class Workspace:
    """Where a study is kept and finds things.

    Attributes:
        root: Folder for everything that a run makes.
        storage: URL of the study storage; None for SQLite under the workspace. Any text becomes a `StoreUrl`.
        tracking_uri: MLflow's tracking store; None for SQLite under the workspace. Likewise.
        experiment: MLflow's experiment.
        data_dir: Folder in which data sets are looked for first.

    Raises:
        InvalidNameError: The experiment, or a study whose folders or files are asked for, cannot be called so.
    """

    root: Path = Path("runs")
    storage: StoreUrl | None = None
    tracking_uri: StoreUrl | None = None
    experiment: str = "dnntune"
    data_dir: str | None = None

    def __post_init__(self) -> None:
        check_name(self.experiment, "an experiment")
        for name in ("storage", "tracking_uri"):
            if (url := getattr(self, name)) is not None:
                object.__setattr__(self, name, StoreUrl(url))

    def options(self, *names: str) -> dict[str, object]:
        """Returns the command line's options that lead here, by name; a default is left out, and so is a secret.

        Args:
            names: Those that a command has: workspace, storage, tracking_uri, experiment, data_dir.
        """
        default = Workspace()
        values = {name: self.root if name == "workspace" else getattr(self, name) for name in names}
        return {
            name: value
            for name, value in values.items()
            if value != (default.root if name == "workspace" else getattr(default, name))
            and not (isinstance(value, StoreUrl) and value.has_secret)
        }

    def anywhere(self) -> Self:
        """Returns the same for a process with another working directory."""
        return replace(self, root=self.root.resolve())

    def from_environment(self) -> Iterator[str]:
        """Says of each address with a secret in which environment variable commands look for it."""
        for url, (variable, *_) in ((self.storage, STORAGE_VARIABLES), (self.tracking_uri, TRACKING_VARIABLES)):
            if url is not None and url.has_secret:
                yield f"with ${variable} set to {url}, whose password is hidden"

    @property
    def storage_url(self) -> StoreUrl:
        """URL of the study storage."""
        return self.storage or sqlite_url(self.root.resolve() / "studies.db")

    @property
    def tracking_url(self) -> StoreUrl:
        """MLflow's tracking URI."""
        return mlflow_url(self.tracking_uri or sqlite_url(self.root.resolve() / "mlflow.db"))

    @property
    def artifacts(self) -> Path | None:
        """Folder for MLflow's artifacts; None leaves them to the tracking server."""
        return None if self.tracking_uri else self.root.resolve() / "mlartifacts"

    @property
    def feature_cache(self) -> Path:
        """Folder for what frozen layers give, shared by all studies of the workspace."""
        return self.root.resolve() / "cache" / "features"

    def checkpoints(self, study: str) -> Path:
        """Folder for the checkpoints of a study's trials."""
        return self.root.resolve() / "checkpoints" / _named(study)

    def models(self, study: str) -> Path:
        """Folder for the weights of a study's best trials."""
        return self.root.resolve() / "models" / _named(study)

    def final(self, study: str) -> Path:
        """The file of a study's final result."""
        return self.root.resolve() / "final" / f"{_named(study)}.json"

    def report(self, study: str) -> Path:
        """The file of a study's report."""
        return self.root.resolve() / "reports" / f"{_named(study)}.html"

    def lock(self, study: str) -> Path:
        """The file that is locked while a process runs the study."""
        return self.root.resolve() / "locks" / f"{_named(study)}.lock"


def _named(study: str) -> str:
    return check_name(study, "a study")
