"""The time that a study took, and what pruning and the feature cache spared it."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from pipeline.records.phases import images_text
from pipeline.records.results import Outcome
from pipeline.study.attributes import CONFIG, CURVES
from pipeline.study.trials import STATES, images_through_backbone, result_of

SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Spending:
    """Where a study's time went.

    Attributes:
        seconds: Of all trials of an outcome together; outcomes without trials are left out.
        wall_seconds: From the beginning of the first trial to the end of the last one, pauses included.
        spared_epochs: Epochs that pruned trials were not trained for. Early stopping might have spared some, too.
        spared_seconds: What these would have taken, at each trial's own pace.
        backbone_images: Images that passed through backbones; 0 for perceptrons.
        cached_images: Images that the feature cache spared their frozen layers.
    """

    seconds: dict[Outcome, float]
    wall_seconds: float
    spared_epochs: int
    spared_seconds: float
    backbone_images: int
    cached_images: int

    @property
    def total_seconds(self) -> float:
        """Of all trials together."""
        return sum(self.seconds.values())


def spending(trials: Sequence[FrozenTrial]) -> Spending:
    """Returns where the time of a study's trials went."""
    ended = [(trial, result) for trial in trials if (result := result_of(trial)) is not None]
    seconds = {outcome: sum(r.seconds for _, r in ended if r.outcome == outcome) for outcome in STATES}
    present = {result.outcome for _, result in ended}
    spared = [_spared(trial) for trial, result in ended if result.outcome == "pruned"]
    begun = [trial.datetime_start for trial, _ in ended if trial.datetime_start is not None]
    done = [trial.datetime_complete for trial, _ in ended if trial.datetime_complete is not None]
    backbone_images, cached_images = images_through_backbone(trials)
    return Spending(
        seconds={outcome: total for outcome, total in seconds.items() if outcome in present},
        wall_seconds=(max(done) - min(begun)).total_seconds() if begun and done else 0.0,
        spared_epochs=sum(epochs for epochs, _ in spared),
        spared_seconds=sum(time for _, time in spared),
        backbone_images=backbone_images,
        cached_images=cached_images,
    )


def _spared(trial: FrozenTrial) -> tuple[int, float]:
    """Returns the epochs that a pruned trial was not trained for, and the seconds that they would have taken."""
    paces: list[float] = trial.user_attrs.get(CURVES, {}).get("seconds", [])
    if CONFIG not in trial.user_attrs or not paces:
        return 0, 0.0
    epochs = max(trial.user_attrs[CONFIG]["epochs"] - len(paces), 0)
    return epochs, epochs * statistics.fmean(paces)


def time_sentences(spent: Spending) -> Iterator[str]:
    """Says where the time went."""
    if spent.seconds:
        yield (
            f"All trials together took {time_text(spent.total_seconds)}. From the start of the first to the end of the "
            f"last one it took {time_text(spent.wall_seconds)}, pauses included."
        )
    if spent.spared_epochs:
        yield (
            f"Pruning saved {spent.spared_epochs} epochs, or {time_text(spent.spared_seconds)} at the "
            f"trials' own speed. Early stopping might have saved some of them, too."
        )
    if spent.backbone_images or spent.cached_images:
        yield f"{images_text(spent.backbone_images, spent.cached_images)}."


def time_text(seconds: float) -> str:
    """Writes a time in the unit that suits it: ``32 s``, ``4.5 min``, ``3.2 h``."""
    scale, unit = time_unit(seconds)
    return f"{seconds / scale:.{0 if scale == 1.0 else 1}f} {unit}"


def time_unit(seconds: float) -> tuple[float, str]:
    """Returns the unit that suits a time: its seconds, and its name."""
    if seconds < 2 * SECONDS_PER_MINUTE:
        return 1.0, "s"
    return (SECONDS_PER_MINUTE, "min") if seconds < 2 * SECONDS_PER_HOUR else (SECONDS_PER_HOUR, "h")
