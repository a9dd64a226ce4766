"""Whether a challenger becomes the champion: two models on the same images, and a decision with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pipeline.evaluation.intervals import Interval, paired_interval

# With fewer images that only one model is right about, not even all of them in one's favour would be beyond chance: a
# sign test of 5 has p = 2 x 0.5^5 = 0.06. A bootstrap overlooks that.
MIN_DISAGREEMENTS = 6


@dataclass(frozen=True)
class Comparison:
    """A challenger and a champion on the same images.

    Attributes:
        images: How many images.
        champion_accuracy: Share of them that the champion is right about.
        challenger_accuracy: Likewise.
        gained: Images that only the challenger is right about.
        lost: Images that only the champion is right about.
        difference: The challenger's accuracy less the champion's.
        interval: Its 95 % interval (paired bootstrap).
    """

    images: int
    champion_accuracy: float
    challenger_accuracy: float
    gained: int
    lost: int
    difference: float
    interval: Interval

    @classmethod
    def of(cls, champion: Sequence[bool], challenger: Sequence[bool]) -> Self:
        """Compares two models.

        Args:
            champion: For each image, whether the champion is right about it.
            challenger: The same for the challenger, in the same order.
        """
        pairs = list(zip(champion, challenger, strict=True))
        gained, lost = pairs.count((False, True)), pairs.count((True, False))
        count = len(pairs)
        return cls(
            images=count,
            champion_accuracy=sum(champion) / count,
            challenger_accuracy=sum(challenger) / count,
            gained=gained,
            lost=lost,
            difference=(gained - lost) / count,
            interval=paired_interval(gained, lost, count),
        )

    def describe(self) -> str:
        """Returns the figures as a sentence."""
        low, high = self.interval
        return (
            f"on {self.images:,} test images the challenger's accuracy is {self.challenger_accuracy:.4f} and the "
            f"champion's {self.champion_accuracy:.4f}, a difference of {self.difference:+.4f} (95 % interval "
            f"{low:+.4f} to {high:+.4f}); only the challenger is right about {self.gained:,} images, only the champion "
            f"about {self.lost:,}"
        )


@dataclass(frozen=True)
class Decision:
    """Whether a version becomes, or stays, the champion; why, in words; and what was compared, if anything was."""

    is_champion: bool
    reason: str
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Interface:
    """What a model takes and tells apart: two models can be compared only if they have the same.

    Attributes:
        class_names: The classes, in their order.
        image_shape: (channels, height, width).
        dtype: Type of the images' values.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: str

    def differs_from(self, other: "Interface") -> str | None:
        """Returns in words what the other one has differently; None if they are the same."""
        if self.class_names != other.class_names:
            return f"its {len(other.class_names)} classes are others than these {len(self.class_names)}"
        if (self.image_shape, self.dtype) != (other.image_shape, other.dtype):
            shapes = [" x ".join(map(str, each.image_shape)) for each in (other, self)]
            return f"it takes images of {other.dtype}, {shapes[0]}, and not of {self.dtype}, {shapes[1]}"
        return None


def first_champion() -> Decision:
    """Returns the decision where there is no champion."""
    return Decision(is_champion=True, reason="there was no champion before")


def still_champion() -> Decision:
    """Returns the decision on a version that is the champion already."""
    return Decision(is_champion=True, reason="this version is the champion already")


def incomparable(difference: str, champion: int) -> Decision:
    """Returns the decision where the champion cannot be compared.

    Args:
        difference: What it has differently; see `Interface.differs_from`.
        champion: Its version.
    """
    reason = (
        f"the champion, version {champion}, cannot be compared: {difference}. Register the model under another --name; "
        "or, if it shall take its place, take the alias champion away on MLflow's page and register again"
    )
    return Decision(is_champion=False, reason=reason)


def decide(comparison: Comparison) -> Decision:
    """Returns whether a challenger has shown to be better than the champion: its interval lies above 0."""
    disagreements = comparison.gained + comparison.lost
    if disagreements < MIN_DISAGREEMENTS:
        rule = f"that is too few to tell them apart: it takes {MIN_DISAGREEMENTS} images that only one is right about"
        return Decision(False, f"{comparison.describe()}: {rule}", comparison)
    if comparison.interval[0] > 0.0:
        return Decision(True, f"{comparison.describe()}: the interval lies above 0", comparison)
    return Decision(False, f"{comparison.describe()}: the interval does not lie above 0", comparison)
