"""Where things are kept."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.names import check_name


@dataclass(frozen=True)
class Places:
    """Where a study is kept and finds things.

    Attributes:
        workspace: Folder for everything that a run makes.
        storage: URL of the study storage; None for SQLite under the workspace.
        tracking_uri: MLflow's tracking store; None for SQLite under the workspace.
        experiment: MLflow's experiment.
        data_dir: Folder in which data sets are looked for first.

    Raises:
        InvalidNameError: The experiment, or a study whose folders or files are asked for, cannot be called so.
    """

    workspace: Path = Path("runs")
    storage: str | None = None
    tracking_uri: str | None = None
    experiment: str = "dnntune"
    data_dir: str | None = None

    def __post_init__(self) -> None:
        check_name(self.experiment, "an experiment")

    @property
    def storage_url(self) -> str:
        """URL of the study storage."""
        return self.storage or f"sqlite:///{self.workspace.resolve() / 'studies.db'}"

    @property
    def tracking_url(self) -> str:
        """MLflow's tracking URI."""
        return self.tracking_uri or f"sqlite:///{self.workspace.resolve() / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path | None:
        """Folder for MLflow's artifacts; None leaves them to the tracking server."""
        return None if self.tracking_uri else self.workspace.resolve() / "mlartifacts"

    @property
    def feature_cache(self) -> Path:
        """Folder for what frozen layers give, shared by all studies of the workspace."""
        return self.workspace.resolve() / "cache" / "features"

    def checkpoints(self, study: str) -> Path:
        """Folder for the checkpoints of a study's trials."""
        return self.workspace.resolve() / "checkpoints" / _named(study)

    def models(self, study: str) -> Path:
        """Folder for the weights of a study's best trials."""
        return self.workspace.resolve() / "models" / _named(study)

    def final(self, study: str) -> Path:
        """The file of a study's final result."""
        return self.workspace.resolve() / "final" / f"{_named(study)}.json"

    def report(self, study: str) -> Path:
        """The file of a study's report."""
        return self.workspace.resolve() / "reports" / f"{_named(study)}.html"

    def lock(self, study: str) -> Path:
        """The file that is locked while a process runs the study."""
        return self.workspace.resolve() / "locks" / f"{_named(study)}.lock"


def _named(study: str) -> str:
    return check_name(study, "a study")
