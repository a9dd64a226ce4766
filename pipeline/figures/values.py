"""What the figures of a study are drawn from, in plain values: its trials, and the axes that they are laid along."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.records.results import Outcome
from pipeline.space.distributions import format_value

# An axis of values shows at least this share of them; the worst of the others lie on its edge.
SHOWN_SHARE = 0.85


@dataclass(frozen=True)
class PlottedTrial:
    """A trial that has ended.

    Attributes:
        number: Its number.
        name: Its number and its network in words.
        outcome: How it ended.
        values: The study's metrics; of a trial that was pruned or diverged the first one at its best epoch, if it had
            one.
        settings: What was drawn, by its place in the configuration.
        curves: What its epochs brought, see `pipeline.records.results.curves_of`; empty if there is nothing.
        verdict: What gradient flow says of it, in words; empty if nothing was measured.
    """

    number: int
    name: str
    outcome: Outcome
    values: tuple[float, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""

    @property
    def value(self) -> float | None:
        """The first metric; None if it has none that is a finite number."""
        return self.values[0] if self.values and math.isfinite(self.values[0]) else None

    @property
    def label(self) -> str:
        """The trial in a line."""
        values = ", ".join(f"{value:.4g}" for value in self.values)
        return f"{self.name}: {self.outcome}" + (f", {values}" if values else "")


@dataclass(frozen=True)
class Axis:
    """What a setting is laid along.

    Attributes:
        name: Its place in the configuration.
        low: The least value; of words, the first one's place.
        high: The largest value.
        log: Whether the axis is logarithmic.
        whole: Whether its values are integers.
        options: The words, in their order; empty for numbers.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    options: tuple[str, ...] = ()

    @property
    def short_name(self) -> str:
        """The last two words of the name; a kind is called by its block."""
        return ".".join(self.name.removesuffix(".kind").split(".")[-2:])

    def coordinate(self, value: Any) -> float:
        """Returns where a value lies, in the axis's own unit."""
        return float(self.options.index(format_value(value)) if self.options else value)

    def share(self, value: Any) -> float:
        """Returns where a value lies, from 0 at the low end to 1 at the high one; beyond them, at the nearer one."""
        return self.share_of(self.coordinate(value))

    def share_of(self, coordinate: float) -> float:
        """Returns where a coordinate lies, likewise."""
        if self.low == self.high:
            return 0.5
        scale = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        return min(max((scale(coordinate) - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Returns a few coordinates and what is written there."""
        if self.options:
            return [(float(index), option) for index, option in enumerate(self.options)]
        if self.low == self.high:
            return [(self.low, f"{self.low:.4g}")]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        if self.whole:
            middle = round(middle)
        return [(coordinate, f"{coordinate:.3g}") for coordinate in (self.low, middle, self.high)]


def spread(number: int) -> float:
    """Returns an offset between -0.5 and 0.5, so that trials with one value do not hide each other.

    Multiples of the golden ratio's fraction fill an interval evenly, however many there are (Weyl, 1916).
    """
    return number * 0.618034 % 1.0 - 0.5


def focus(values: Iterable[float], *, maximize: bool) -> tuple[float, float]:
    """Returns the range to draw: all values, unless a few bad ones would press the others together.

    Args:
        values: At least one.
        maximize: Whether larger is better: the worst ones are the smallest.
    """
    ordered = sorted(values, reverse=maximize)
    best, worst = ordered[0], ordered[-1]
    kept = ordered[math.ceil(SHOWN_SHARE * len(ordered)) - 1]
    if abs(worst - best) > 2.0 * abs(kept - best) > 0.0:
        worst = kept
    margin = 0.06 * abs(worst - best) or 0.01 * abs(best) or 0.01
    return min(best, worst) - margin, max(best, worst) + margin


def best_so_far(trials: Sequence[PlottedTrial], *, maximize: bool) -> list[tuple[int, float]]:
    """Returns the number and the best value up to there of each complete trial, in their order."""
    better = max if maximize else min
    best: list[tuple[int, float]] = []
    for trial in trials:
        if trial.outcome == "complete" and trial.value is not None:
            best.append((trial.number, better(trial.value, best[-1][1]) if best else trial.value))
    return best
