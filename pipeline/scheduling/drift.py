"""What a run's data are, and how they differ from the last run's."""

from collections.abc import Mapping
from typing import Any

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.setup.inputs import Inputs

# Smaller changes of a class's share are not told.
NOTABLE = 0.005


def data_profile(config: TrialConfig, data_dir: str | None) -> dict[str, Any]:
    """Loads a configuration's data, and returns what tells them from others.

    Args:
        config: Whose data.
        data_dir: Folder in which data sets are looked for first.

    Returns:
        fingerprint (SHA-256 of all training and validation images), images, and classes: each one's share.

    Raises:
        DataError: They cannot be read.
    """
    data = Inputs(Compute(device="cpu"), data_dir=data_dir).data(config)
    counts = [part.labels.bincount(minlength=data.num_classes) for part in (data.train, data.valid)]
    total = len(data.train) + len(data.valid)
    by_name = zip(data.class_names, (counts[0] + counts[1]).tolist(), strict=True)
    shares = {name: round(count / total, 6) for name, count in by_name}
    return {"fingerprint": data.fingerprint, "images": total, "classes": shares}


def drift(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """Says in a sentence how data differ from the last run's.

    Args:
        now: This run's, see `data_profile`.
        before: The last run's; None if there was none.
    """
    if before is None:
        return "this is the first run: there is nothing to compare the data with"
    if now["fingerprint"] == before["fingerprint"]:
        return f"the data are those of the last run: {now['images']:,} images"
    number = f"the data have changed: {now['images']:,} images, {before['images']:,} in the last run"
    old, new = before["classes"], now["classes"]
    changes = [
        f"{name} {share(old, name)} to {share(new, name)}"
        for name in dict.fromkeys([*old, *new])
        if abs(new.get(name, 0.0) - old.get(name, 0.0)) >= NOTABLE or (name in old) != (name in new)
    ]
    return f"{number}; class balance: {', '.join(changes) if changes else 'as before'}"


def share(classes: Mapping[str, float], name: str) -> str:
    """Writes a class's share."""
    return f"{classes[name]:.1%}" if name in classes else "absent"
