"""An export in MLflow's registry: a version of a model, compared with the champion on test images."""

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import ModelError, TrackingError
from pipeline.core.stores.urls import StoreUrl
from pipeline.data.image_data import LabeledImages
from pipeline.export.errors import ExportError
from pipeline.export.folder import CHECKSUMS
from pipeline.export.reading import LoadedExport, load_export
from pipeline.registration.champion import (
    Comparison,
    Decision,
    Interface,
    decide,
    first_champion,
    incomparable,
    still_champion,
)
from pipeline.registration.registry import CHALLENGER, CHAMPION, CHECKSUM, Registry, Version
from pipeline.registration.text import description, serving_command

# MLflow copies it: it is no module of this program's.
SERVED_MODEL = Path(__file__).parents[1] / "export" / "served_model.py"


@dataclass(frozen=True)
class Candidate:
    """What is registered.

    Attributes:
        export: Its folder, named export.
        metrics: What is known of the model, plain values; see `pipeline.finalize.study_export`.
        test: The test images, as the data set holds them, on any device.
        run: Id of the study's run in MLflow.
    """

    export: Path
    metrics: Mapping[str, Any]
    test: LabeledImages
    run: str


@dataclass(frozen=True)
class Registered:
    """What came of it.

    Attributes:
        model: The registered model.
        version: The version that has the export.
        is_new: Whether it was made now; another one with the same files is not made.
        champion: The version that is the champion now.
        decision: Whether this version is, and why.
        tracking_uri: Where the registry is.
    """

    model: str
    version: int
    is_new: bool
    champion: int
    decision: Decision
    tracking_uri: StoreUrl

    @property
    def serve(self) -> str:
        """The command that serves the champion."""
        return serving_command(self.model, self.tracking_uri)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for another program."""
        fields = dataclasses.asdict(self)
        decision = fields.pop("decision")
        return {**fields, **decision, "serve": self.serve}


def outcome_lines(registered: Registered) -> Iterator[str]:
    """Writes what came of a registration."""
    name, version = registered.model, registered.version
    yield f"{name}, version {version}" + (": new" if registered.is_new else ": the same files were registered before")
    verdict = "is the champion" if registered.decision.is_champion else f"stays behind version {registered.champion}"
    yield f"version {version} {verdict}: {registered.decision.reason}"
    yield f"serve the champion, version {registered.champion}:"
    yield f"  {registered.serve}"


def enter(registry: Registry, candidate: Candidate) -> Registered:
    """Makes an export a version of a registered model, the challenger, and decides whether it becomes the champion.

    Raises:
        TrackingError: The registry cannot be used, or the champion in it is not as it was registered.
        ExportError: The export is not whole.
    """
    challenger = load_export(candidate.export)
    checksum = checksum_of(candidate.export)
    known = registry.find(checksum)
    version = known or _add(registry, candidate, challenger, checksum)
    champion = registry.aliased(CHAMPION)
    if champion is not None and champion.number == version.number:
        decision = still_champion()
    else:
        registry.alias(CHALLENGER, version.number)
        decision = first_champion() if champion is None else _against(registry, champion, challenger, candidate.test)
        text = description(
            candidate.metrics,
            address=f"models:/{registry.model}/{version.number}",
            interface=_interface(challenger),
            decision=decision,
            against=None if champion is None else champion.number,
        )
        _record(registry, version, champion, decision, text)
    if decision.is_champion:
        _withdraw_challenger(registry, version)
    holder = version if champion is None or decision.is_champion else champion
    return Registered(registry.model, version.number, known is None, holder.number, decision, registry.uri)


def checksum_of(export: Path) -> str:
    """Returns an export's checksum: that of its list of checksums, and so of all its files."""
    return hashlib.sha256((export / CHECKSUMS).read_bytes()).hexdigest()


def _add(registry: Registry, candidate: Candidate, challenger: LoadedExport, checksum: str) -> Version:
    metrics = candidate.metrics
    low, high = metrics["test_interval"]
    assert challenger.config is not None, "its plug-ins are those that have just exported it"
    tags = {
        **{name: str(metrics[name]) for name in ("study", "trial", "seed")},
        "data": challenger.config.data.kind,
        "test_accuracy": f"{metrics['test_accuracy']:.4f}",
        "test_interval": f"{low:.4f} to {high:.4f}",
        CHECKSUM: checksum,
    }
    return registry.add(
        candidate.export,
        script=SERVED_MODEL,
        example=candidate.test.images[:1].cpu().numpy(),
        num_classes=len(challenger.class_names),
        run=candidate.run,
        tags=tags,
    )


def _against(registry: Registry, champion: Version, challenger: LoadedExport, test: LabeledImages) -> Decision:
    with tempfile.TemporaryDirectory(prefix="dnntune-champion-") as folder, _blaming(registry, champion):
        opponent = _champions_export(registry, champion, Path(folder))
    if (difference := _interface(challenger).differs_from(_interface(opponent))) is not None:
        return incomparable(difference, champion.number)
    with _blaming(registry, champion):
        champions = _rights(opponent, test)
    return decide(Comparison.of(champions, _rights(challenger, test)))


def _champions_export(registry: Registry, champion: Version, folder: Path) -> LoadedExport:
    if CHECKSUM not in champion.tags:
        raise ExportError("dnntune register has not made it")
    export = registry.download(champion.number, folder)
    loaded = load_export(export)
    if checksum_of(export) != champion.tags[CHECKSUM]:
        raise ExportError("its files are not those that were registered")
    return loaded


@contextlib.contextmanager
def _blaming(registry: Registry, champion: Version) -> Iterator[None]:
    """Says of a broken export that it is the champion's, and what helps."""
    try:
        yield
    except (ExportError, ModelError) as error:
        raise TrackingError(
            f"version {champion.number} of {registry.model}, the champion, cannot be compared with: {error}. Take the "
            "alias champion away on MLflow's page and register again; or register under another --name"
        ) from None


def _interface(export: LoadedExport) -> Interface:
    return Interface(export.class_names, export.image_shape, str(export.dtype).removeprefix("torch."))


def _rights(export: LoadedExport, test: LabeledImages) -> list[bool]:
    """Returns for each image whether a model is right about it."""
    predicted = export.probabilities(test.images.cpu()).argmax(1)
    rights: list[bool] = (predicted == test.labels.cpu()).tolist()
    return rights


def _record(registry: Registry, version: Version, champion: Version | None, decision: Decision, text: str) -> None:
    """Writes down what was decided, and then does it: the alias moves last, so that nobody sees half of it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    label = CHAMPION if decision.is_champion else CHALLENGER
    registry.describe(version.number, description=text, tags={"decision": label, "reason": decision.reason})
    if decision.is_champion:
        registry.tag(version.number, "champion_since", now)
        registry.tag(version.number, "champion_until", None)
        if champion is not None:
            registry.tag(champion.number, "champion_until", now)
        registry.alias(CHAMPION, version.number)


def _withdraw_challenger(registry: Registry, champion: Version) -> None:
    """Takes the other alias from a champion: it challenges nobody."""
    challenger = registry.aliased(CHALLENGER)
    if challenger is not None and challenger.number == champion.number:
        registry.unalias(CHALLENGER)
