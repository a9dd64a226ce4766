"""What a setting is drawn from: ranges and choices."""

import json
import math
from dataclasses import dataclass
from typing import Any

Scalar = None | bool | int | float | str


@dataclass(frozen=True)
class IntRange:
    """Integers from low to high, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __str__(self) -> str:
        return f"int {self.low} to {self.high}" + _suffix(self.step if self.step != 1 else None, self.log)

    def bounds(self) -> list[Any]:
        return [self.low, self.high]

    def contains(self, value: Any) -> bool:
        if type(value) is not int or not self.low <= value <= self.high:
            return False
        return bool((value - self.low) % self.step == 0)

    def values(self, points: int) -> list[Any]:
        count = (self.high - self.low) // self.step + 1
        if count <= points:
            return list(range(self.low, self.high + 1, self.step))
        spread = _spread(self.low, self.high, points, self.log)
        return sorted({self.low + round((value - self.low) / self.step) * self.step for value in spread})

    def num_values(self) -> int | None:
        return (self.high - self.low) // self.step + 1


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from low to high, or those of them that lie on a step."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __str__(self) -> str:
        return f"float {self.low:g} to {self.high:g}" + _suffix(self.step, self.log)

    def bounds(self) -> list[Any]:
        return [self.low, self.high]

    def contains(self, value: Any) -> bool:
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return bool(abs(steps - round(steps)) < 1e-8)

    def values(self, points: int) -> list[Any]:
        if (count := self.num_values()) is not None and count <= points:
            assert self.step is not None
            return [self.low + index * self.step for index in range(count)]
        return _spread(self.low, self.high, points, self.log)

    def num_values(self) -> int | None:
        return None if self.step is None else round((self.high - self.low) / self.step) + 1


@dataclass(frozen=True)
class Choice:
    """One of several values; kinds of blocks are choices too."""

    options: tuple[Any, ...]

    def __str__(self) -> str:
        return " | ".join(format_value(option) for option in self.options)

    def bounds(self) -> list[Any]:
        """Returns the smallest and the largest number, and whatever is no number."""
        numbers = [option for option in self.options if type(option) in (int, float)]
        ends = {min(numbers), max(numbers)} if numbers else set()
        return [option for option in self.options if type(option) not in (int, float) or option in ends]

    def contains(self, value: Any) -> bool:
        return any(type(value) is type(option) and value == option for option in self.options)

    def values(self, _points: int) -> list[Any]:
        return list(self.options)

    def num_values(self) -> int | None:
        return len(self.options)


Distribution = IntRange | FloatRange | Choice


def storable(option: Any) -> Scalar:
    """Returns what a study's storage keeps for an option: itself, or JSON for a list."""
    return json.dumps(option) if isinstance(option, list | tuple) else option


def format_value(value: Any) -> str:
    """Writes a value as YAML would, on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value)


def _suffix(step: float | None, log: bool) -> str:
    return (f", step {step:g}" if step is not None else "") + (", log" if log else "")


def _spread(low: float, high: float, points: int, log: bool) -> list[float]:
    shares = [index / (points - 1) for index in range(points)]
    if log:
        return [low, *(math.exp(math.log(low) + s * math.log(high / low)) for s in shares[1:-1]), high]
    return [low + share * (high - low) for share in shares]
