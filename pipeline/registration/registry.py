"""MLflow's registry: the versions of a model, which of them is the champion, and the export in each."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.names import broken_plain_rule, check_name
from pipeline.core.stores.urls import StoreUrl
from pipeline.registration.packaging import EXPORT, package
from pipeline.tracking.store import open_client, unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# Aliases: the version that is served, and the one registered last, unless that has become the champion. A version never
# has both, so that whoever follows the challenger gets another model than the champion, or none.
CHAMPION, CHALLENGER = "champion", "challenger"
# Tag of a version: the SHA-256 of its export's SHA256SUMS, and so of all its files.
CHECKSUM = "export_sha256"
ABOUT = (
    "Image classifiers, by dnntune. `models:/{model}@champion` is the one to serve; `models:/{model}@challenger`, if "
    "there is one, was registered last and has not been shown to be better."
)


@dataclass(frozen=True)
class Version:
    """A version of a registered model: its number, and its tags."""

    number: int
    tags: Mapping[str, str]


class Registry:
    """A model in a tracking store's registry; it need not exist yet.

    Every method raises TrackingError where the store fails; nothing is tried again.

    Args:
        uri: The tracking store's address; any text becomes a `StoreUrl`.
        model: The model's name.

    Raises:
        InvalidNameError: A model cannot be called so.
        TrackingError: The store, or its registry, cannot be used.
    """

    def __init__(self, uri: StoreUrl, model: str) -> None:
        self.uri, self.model = StoreUrl(uri), check_name(model, "a registered model", broken_plain_rule)
        self.client: MlflowClient = open_client(uri)
        with self._reaching():
            self.client.search_registered_models(max_results=1)

    def aliased(self, alias: str) -> Version | None:
        """Returns the version that has an alias, if there is one."""
        with self._reaching():
            found = self.client.search_registered_models(f"name = '{self.model}'")
            if not found or alias not in found[0].aliases:
                return None
            return _version(self.client.get_model_version(self.model, str(found[0].aliases[alias])))

    def find(self, checksum: str) -> Version | None:
        """Returns the version that has an export, if there is one.

        Args:
            checksum: The export's; see `CHECKSUM`.
        """
        with self._reaching():
            found = self.client.search_model_versions(f"name = '{self.model}' and tags.{CHECKSUM} = '{checksum}'")
        return min(map(_version, found), key=lambda version: version.number, default=None)

    def add(
        self, export: Path, *, script: Path, example: Any, num_classes: int, run: str, tags: Mapping[str, str]
    ) -> Version:
        """Logs an export as a model of a run, and makes it a version.

        Everything goes through the client, and nothing through MLflow's global state. The version's source is where the
        files are: an address ``models:/...`` would be looked up in MLflow's global store.

        Args:
            export: Its folder, named export.
            script: The Python file that serves it.
            example: Images of the data set, an array (images, channels, height, width).
            num_classes: How many classes there are.
            run: Id of the run that it comes from.
            tags: The version's, `CHECKSUM` among them.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        with self._reaching():
            experiment = self.client.get_run(run).info.experiment_id
            logged = self.client.create_logged_model(experiment, name="export", source_run_id=run, tags=dict(tags))
            model = Model(run_id=run, model_id=logged.model_id, model_uuid=logged.model_id)
            try:
                with tempfile.TemporaryDirectory() as folder:
                    packaged = Path(folder) / "model"
                    package(
                        export, script=script, example=example, num_classes=num_classes, model=model, folder=packaged
                    )
                    self.client.log_model_artifacts(logged.model_id, str(packaged))
            except BaseException:
                self.client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            self.client.finalize_logged_model(logged.model_id, "READY")
            self.client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
            self._create_model()
            made = self.client.create_model_version(
                self.model, logged.artifact_location, run_id=run, tags=dict(tags), model_id=logged.model_id
            )
        return _version(made)

    def describe(self, number: int, *, description: str, tags: Mapping[str, str]) -> None:
        """Sets a version's description, Markdown, and some of its tags."""
        with self._reaching():
            self.client.update_model_version(self.model, str(number), description)
            for name, value in tags.items():
                self.client.set_model_version_tag(self.model, str(number), name, value)

    def tag(self, number: int, name: str, value: str | None) -> None:
        """Sets a tag of a version; None removes it."""
        with self._reaching():
            if value is None:
                self.client.delete_model_version_tag(self.model, str(number), name)
            else:
                self.client.set_model_version_tag(self.model, str(number), name, value)

    def alias(self, alias: str, number: int) -> None:
        """Gives an alias to a version, and takes it from the one that has it."""
        with self._reaching():
            self.client.set_registered_model_alias(self.model, alias, str(number))

    def unalias(self, alias: str) -> None:
        """Takes an alias from the version that has it."""
        with self._reaching():
            self.client.delete_registered_model_alias(self.model, alias)

    def download(self, number: int, folder: Path) -> Path:
        """Copies a version's export.

        Args:
            number: Which version.
            folder: Where to.

        Returns:
            The export's folder.
        """
        import mlflow.artifacts

        with self._reaching():
            source = self.client.get_model_version_download_uri(self.model, str(number))
            export = f"{source.rstrip('/')}/{EXPORT}"
            copied = mlflow.artifacts.download_artifacts(
                artifact_uri=export, dst_path=str(folder), tracking_uri=self.uri.reveal()
            )
        return Path(copied)

    def _create_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.model, description=ABOUT.format(model=self.model))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        import sqlalchemy.exc
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise unusable(self.uri, error) from None


def _version(found: "ModelVersion") -> Version:
    return Version(int(found.version), dict(found.tags))
