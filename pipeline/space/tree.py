"""The search space: a tree in the shape of the configuration, with distributions for leaves.

`pipeline.space.files` builds it from YAML and proves it; here it is walked: to draw a configuration, to list its
parameters, to run through its combinations. Optuna is imported where a distribution of its own is asked for, so that
checking a space stays instant; torch never.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.config.study import MAX_GRID
from pipeline.config.trial import TrialConfig
from pipeline.space.distributions import Choice, Distribution, FloatRange, IntRange, storable

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Parameter:
    """Something to search.

    Attributes:
        name: Its name in the study: the path, with the kind where it hangs on one (``optimizer.sgd.lr``).
        path: Where its value goes in the configuration (``optimizer.lr``).
        distribution: What it is drawn from.
        condition: The choice that it hangs on, as (parameter name, value); None where it always exists.
    """

    name: str
    path: str
    distribution: Distribution
    condition: tuple[str, str] | None


@dataclass(frozen=True)
class Fixed:
    """A value with nothing to search."""

    value: Any


@dataclass(frozen=True)
class Fields:
    """A block of settings, each with a node of its own."""

    fields: Mapping[str, "Node"]


@dataclass(frozen=True)
class BlockChoice:
    """One of several blocks, told apart by their kind."""

    kind: Parameter
    blocks: Mapping[str, Fields]


Node = Fixed | Parameter | Fields | BlockChoice
Pick = Callable[[Parameter], Any]


@dataclass(frozen=True)
class SearchSpace:
    """All configurations that a study may try.

    Attributes:
        root: The tree.
        definition: The same as plain values, as it was written: equal sources are equal spaces.
    """

    root: Fields
    definition: Mapping[str, Any] = field(compare=False)

    def parameters(self) -> list[Parameter]:
        """Returns every parameter, those that hang on a choice after it."""
        return list(_parameters(self.root))

    def build(self, pick: Pick, *, check_rules: bool = True) -> TrialConfig:
        """Builds the configuration in which each parameter has the value that ``pick`` returns for it.

        Args:
            pick: Returns a parameter's value.
            check_rules: Whether to check the rules of `pipeline.config.rules.table`.
        """
        return TrialConfig.model_validate(assemble(self.root, pick), context={"check_rules": check_rules})

    def sample(self, trial: "optuna.trial.BaseTrial") -> TrialConfig:
        """Draws a configuration; only the parameters that apply are asked of the trial."""

        def pick(parameter: Parameter) -> Any:
            match parameter.distribution:
                case IntRange(low, high, step, log):
                    return trial.suggest_int(parameter.name, low, high, step=step, log=log)
                case FloatRange(low, high, fstep, log):
                    return trial.suggest_float(parameter.name, low, high, step=fstep, log=log)
                case Choice(options):
                    words = [storable(option) for option in options]
                    return options[words.index(trial.suggest_categorical(parameter.name, words))]

        return self.build(pick)

    def combinations(self, values: Callable[[Parameter], list[Any]]) -> Iterator[dict[str, Any]]:
        """Runs through every combination of the values given for each parameter.

        A parameter is in a combination only where it applies, so conditional spaces have no combination twice.

        Args:
            values: Returns the values to try of a parameter, at least one.

        Yields:
            Parameter names with values.
        """
        pending: list[list[Any]] = [[]]
        while pending:
            decided = pending.pop()
            trail: dict[str, Any] = {}

            def pick(parameter: Parameter, decided: list[Any] = decided, trail: dict[str, Any] = trail) -> Any:
                index = len(trail)
                if index < len(decided):
                    value = decided[index]
                else:
                    value, *others = values(parameter)
                    pending.extend([*trail.values(), other] for other in reversed(others))
                trail[parameter.name] = value
                return value

            assemble(self.root, pick)
            yield trail

    def boundary_configs(self, paths: Sequence[str]) -> Iterator[TrialConfig]:
        """Builds every combination of the extremes of some settings, the others at their first value.

        The rules of `pipeline.config.rules.table` are not checked.

        Args:
            paths: Places in the configuration.
        """

        def values(parameter: Parameter) -> list[Any]:
            bounds = parameter.distribution.bounds()
            return bounds if parameter.path in paths else bounds[:1]

        for combination in self.combinations(values):
            yield self.build(lambda parameter, combination=combination: combination[parameter.name], check_rules=False)  # type: ignore[misc]

    def num_configurations(self) -> int | None:
        """Returns how many configurations there are, or None if a range of floats makes them too many to count."""
        return _count(self.root, lambda parameter: parameter.distribution.num_values())

    def grid(self, points: int) -> Iterator[dict[str, Any]]:
        """Runs through every combination, with at most so many values of a range; see `combinations`."""
        return self.combinations(lambda parameter: parameter.distribution.values(points))

    def grid_limit(self, points: int) -> str | None:
        """Returns why a grid cannot be run, without running through it; None if it can."""
        sizes = {parameter: len(parameter.distribution.values(points)) for parameter in self.parameters()}
        count = _count(self.root, sizes.__getitem__)
        assert count is not None
        if count <= MAX_GRID:
            return None
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
        named = ", ".join(f"{parameter.name} has {size:,}" for parameter, size in largest)
        return (
            f"a grid may have {MAX_GRID:,} combinations; this one has {count:,} ({named} values). Lower "
            "sampler.points, shorten choices, fix settings, or take another sampler: tpe, random or qmc"
        )


def without_kinds(name: str, kind_of: Callable[[str], Any]) -> str:
    """Returns the place in the configuration of a parameter: its name without the kinds that it hangs on.

    Args:
        name: A parameter's name, such as ``optimizer.sgd.lr``.
        kind_of: From the path of a kind, such as ``optimizer.kind``, to its value, or None if there is none.
    """
    parts = name.split(".")
    return ".".join(part for index, part in enumerate(parts) if kind_of(".".join([*parts[:index], "kind"])) != part)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turns nested mappings into one with dotted paths for names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _parameters(node: Node) -> Iterator[Parameter]:
    match node:
        case Parameter():
            yield node
        case Fields(fields):
            for child in fields.values():
                yield from _parameters(child)
        case BlockChoice(kind, blocks):
            yield kind
            for block in blocks.values():
                yield from _parameters(block)


def assemble(node: Node, pick: Pick) -> Any:
    """Returns a tree as plain values, each parameter with the value that ``pick`` returns for it."""
    match node:
        case Fixed(value):
            return value
        case Parameter():
            return pick(node)
        case Fields(fields):
            return {name: assemble(child, pick) for name, child in fields.items()}
        case BlockChoice(kind, blocks):
            return assemble(blocks[pick(kind)], pick)


def _count(node: Node, num_values: Callable[[Parameter], int | None]) -> int | None:
    match node:
        case Fixed():
            return 1
        case Parameter():
            return num_values(node)
        case Fields(fields):
            counts = [_count(child, num_values) for child in fields.values()]
            return None if None in counts else math.prod(count for count in counts if count is not None)
        case BlockChoice(_, blocks):
            counts = [_count(block, num_values) for block in blocks.values()]
            return None if None in counts else sum(count for count in counts if count is not None)
