"""Which settings make the axes of MLflow's charts, and in which words.

A parallel plot drops each run that lacks one of its parameters. Where an axis has numbers and words, it keeps the
numbers or the words, whichever are more. A space gives cause for both: what hangs on one kind is missing beside the
others, and a choice may be ``1, 2, all``. So a trial gets a word where it would be dropped; in a parameter of its own
(``schedule.step_epochs.level``) where other trials have numbers, which stay numbers for sorting and scatter plots.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.space.distributions import Choice, FloatRange, IntRange, format_value
from pipeline.space.tree import Parameter, SearchSpace, flatten

# What the parameter beside a setting is called that stands for it on an axis: its logarithm, or a word.
LOGARITHM, LEVEL = STAND_INS = (".log10", ".level")
NOT_USED = "not used"
# The thirds of a range. Charts sort words by alphabet, and cut them after nine characters.
THIRDS = ("1 low", "2 middle", "3 high")
# A range of so many integers is not divided.
MAX_INTEGERS = 6


@dataclass(frozen=True)
class Scale:
    """The range of numbers that a setting is drawn from, both ends included; of all its ranges, if it has several."""

    low: float
    high: float
    is_log: bool

    def level(self, value: float) -> str:
        """Returns in which third of the range a number lies; itself if it lies in none, or if there are few."""
        is_few = isinstance(value, int) and self.high - self.low < MAX_INTEGERS
        if is_few or not self.low <= value <= self.high or self.low == self.high:
            return as_category(value)
        scale = math.log if self.is_log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return THIRDS[min(int(share * len(THIRDS)), len(THIRDS) - 1)]


@dataclass(frozen=True)
class Axes:
    """What charts must know of a space; nothing, where a function draws.

    Attributes:
        log_scaled: Settings that are searched on a logarithmic scale: MLflow's axes are linear.
        optional_categories: Settings in words that some trials lack.
        levels: Settings in numbers that some trials lack, or have in words; with their scale, if they have one.
        examples: Configurations that together have every block of the space and the ends of every range.
    """

    log_scaled: frozenset[str] = frozenset()
    optional_categories: frozenset[str] = frozenset()
    levels: Mapping[str, Scale | None] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()

    def further_params(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Returns the parameters that a trial gets for charts, besides its settings."""
        settings = set_values(config)
        logs = {path: settings[path] for path in self.log_scaled & settings.keys() if settings[path] > 0}
        return {
            **{f"{path}{LOGARITHM}": f"{math.log10(value):.3f}" for path, value in logs.items()},
            **{f"{path}{LEVEL}": _level(settings.get(path), scale) for path, scale in self.levels.items()},
            **dict.fromkeys(self.optional_categories - settings.keys(), NOT_USED),
        }

    def differing(self, configs: Sequence[Mapping[str, Any]], searched_paths: Sequence[str]) -> list[tuple[str, str]]:
        """Returns the settings that differ between trials, each with the parameter that makes its axis.

        First come those in numbers, or in words, that every trial has. A setting that a chart would drop trials for is
        left out.

        Args:
            configs: The trials' configurations as plain values.
            searched_paths: Paths of the settings that the study searches.
        """
        all_settings = [set_values(config) for config in configs]
        columns = {path: [settings.get(path) for settings in all_settings] for path in searched_paths}
        named = {path: self._axis(path, values) for path, values in columns.items() if len(set(map(str, values))) > 1}
        axes = [(path, axis) for path, axis in named.items() if axis is not None]
        return sorted(axes, key=lambda axis: is_partial(axis[1]) or None in columns[axis[0]])

    def _axis(self, path: str, values: Sequence[Any]) -> str | None:
        is_log = path in self.log_scaled
        kinds = {None if value is None else _is_number(value) and (value > 0 or not is_log) for value in values}
        if kinds == {True}:
            return f"{path}{LOGARITHM}" if is_log else path
        if kinds == {False} or (kinds == {False, None} and path in self.optional_categories):
            return path
        return f"{path}{LEVEL}" if path in self.levels else None


def axes_of(space: SearchSpace | None) -> Axes:
    """Returns what charts must know of a space; None if a function draws."""
    if space is None:
        return Axes()
    scales = _scales(space.parameters())
    log_scaled = frozenset(path for path, scale in scales.items() if scale.is_log)
    examples = _examples(space)
    optional_categories, levels = [], {}
    for path in dict.fromkeys(parameter.path for parameter in space.parameters()):
        values = [set_values(example).get(path) for example in examples]
        kinds = {None if value is None else _is_number(value) for value in values}
        has_no_logarithm = path in log_scaled and any(value == 0 for value in values)
        if kinds == {False, None}:
            optional_categories.append(path)
        elif kinds > {True} or has_no_logarithm:
            levels[path] = scales.get(path)
    return Axes(log_scaled, frozenset(optional_categories), levels, examples)


def is_partial(axis: str) -> bool:
    """Returns whether an axis is of a setting that some trials lack, or have in words."""
    return axis.endswith(LEVEL)


def set_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration's settings under their paths, unset ones left out."""
    return {path: value for path, value in flatten(config).items() if value is not None}


def as_category(value: Any) -> str:
    """Writes a value so that a chart does not take it for a number."""
    return f"= {format_value(value)}"


def _level(value: Any, scale: Scale | None) -> str:
    if value is None:
        return NOT_USED
    return as_category(value) if scale is None or not _is_number(value) else scale.level(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scales(parameters: Sequence[Parameter]) -> dict[str, Scale]:
    ranges: dict[str, list[IntRange | FloatRange]] = {}
    for parameter in parameters:
        if isinstance(parameter.distribution, IntRange | FloatRange):
            ranges.setdefault(parameter.path, []).append(parameter.distribution)
    return {
        path: Scale(
            min(each.low for each in several),
            max(each.high for each in several),
            any(each.log for each in several),
        )
        for path, several in ranges.items()
    }


def _examples(space: SearchSpace) -> list[dict[str, Any]]:
    """Returns configurations with each option of each choice: once with all ranges at their low end, once at the high.

    A configuration need not be one that the rules allow.
    """
    by_name = {parameter.name: parameter for parameter in space.parameters()}

    def way_to(parameter: Parameter) -> dict[str, Any]:
        if parameter.condition is None:
            return {}
        name, kind = parameter.condition
        return {**way_to(by_name[name]), name: kind}

    options = [
        {**way_to(parameter), parameter.name: option}
        for parameter in by_name.values()
        if isinstance(parameter.distribution, Choice)
        for option in parameter.distribution.options
    ]

    def build(given: Mapping[str, Any], end: int) -> dict[str, Any]:
        config = space.build(lambda p: given.get(p.name, p.distribution.bounds()[end]), check_rules=False)
        return config.to_dict()

    return [build(given, end) for given in options or [{}] for end in (0, -1)]
