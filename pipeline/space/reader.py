"""From a YAML tree with places to a search space, finding every error of shape, name, type and range on the way.

The configuration classes are the grammar: a block is read with the class that its field has, a leaf is checked with
the field's own constraints, each end of a range included.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pipeline.config.kinds import Block
from pipeline.config.schema import (
    annotation_of,
    block_of,
    did_you_mean,
    implied_kind,
    kinds_of,
    paths_ending_in,
    short_repr,
    validation_error,
)
from pipeline.core.errors import MAX_PROBLEMS, Problem, SpaceError
from pipeline.space.distributions import Choice, Distribution, FloatRange, IntRange, format_value
from pipeline.space.tree import BlockChoice, Fields, Fixed, Node, Parameter
from pipeline.space.yaml_text import YamlNode

_DISTRIBUTIONS = {"int": {"int", "step", "log"}, "float": {"float", "step", "log"}, "choice": {"choice"}}
# With more, rounding errors of the values are as large as the steps: see `FloatRange.contains`.
MAX_STEPS = 1_000_000
# Where no kind is like it.
PLUGIN = ". If a plug-in adds it, give that with --plugin"
Condition = tuple[str, str] | None


class SpaceReader:
    """Reads blocks and collects problems.

    Args:
        root: The class of the outermost block, for hints.
        searchable: Whether distributions are allowed (in a space) or not (in the settings of a study).
    """

    def __init__(self, root: type[Block], *, searchable: bool) -> None:
        self.root, self.searchable = root, searchable
        self.problems: list[Problem] = []
        self.locations: dict[str, str] = {}

    def refuse(self, node: YamlNode, path: str, message: str) -> Fixed:
        """Notes a problem; returns a node to go on with.

        Raises:
            SpaceError: There are more than anybody reads: the file is something else.
        """
        self.problems.append(Problem(path, message, node.location))
        if len(self.problems) > MAX_PROBLEMS:
            raise SpaceError(self.problems)
        return Fixed(None)

    def block(
        self,
        node: YamlNode,
        block: type[Block],
        path: str = "",
        prefix: str = "",
        when: Condition = None,
        kinds: Mapping[str, type[Block]] | None = None,
    ) -> Node:
        """Reads a mapping of settings.

        Args:
            node: The mapping.
            block: Its class.
            path: Its place in the configuration, ending in a dot, or empty.
            prefix: The same with kinds, as parameters are named.
            when: The choice that all in it hangs on.
            kinds: The kinds that could stand in its place, for hints.
        """
        if not isinstance(node.value, dict):
            return self.refuse(
                node, path.rstrip("."), f"must be a mapping of settings; got {short_repr(node.to_python())}"
            )
        fields: dict[str, Node] = {}
        for name, value in node.value.items():
            if name not in block.model_fields:
                self.refuse(value, path + name, f"unknown setting{self._hint(name, block, path, kinds or {})}")
                continue
            self.locations[path + name] = value.location
            fields[name] = self._field(value, block, name, path + name, prefix + name, when)
        for name, info in block.model_fields.items():
            if info.is_required() and name not in node.value:
                self.refuse(node, path + name, f"is missing: a space needs {path}{name}")
        return Fields(fields)

    def _hint(self, name: str, block: type[Block], path: str, kinds: Mapping[str, type[Block]]) -> str:
        if having := [kind for kind, other in kinds.items() if name in other.model_fields]:
            below = [other for other in paths_ending_in(name, block) if other != name]
            also = f"; there is {path}{below[0]}" if below else ""
            return f" of this kind. It belongs to kind: {' or '.join(having)}{also}"
        if near := did_you_mean(name, block.model_fields):
            return near
        elsewhere = paths_ending_in(name, self.root)
        known = elsewhere[:3] or list(block.model_fields)
        return f". {'It stands at' if elsewhere else 'Known here:'} {', '.join(known)}"

    def _field(self, node: YamlNode, block: type[Block], field: str, path: str, name: str, when: Condition) -> Node:
        annotation = annotation_of(block, field)
        if kinds := kinds_of(annotation):
            if isinstance(node.value, dict) and "choice" in node.value:
                return self._block_choice(node, kinds, path, name, when)
            return self._kind(node, kinds, path, name + ".", when, implied_kind(block, field))
        if (plain := block_of(annotation)) is not None:
            return self.block(node, plain, path + ".", name + ".", when)
        if isinstance(node.value, dict):
            return self._distribution(node, block, field, Parameter(name, path, Choice(()), when))
        return self._value(node, block, field, path)

    def _value(self, node: YamlNode, block: type[Block], field: str, path: str) -> Fixed:
        if (reason := validation_error(block, field, value := node.to_python())) is not None:
            return self.refuse(node, path, reason)
        return Fixed(tuple(value) if isinstance(value, list) else value)

    def _kind(
        self, node: YamlNode, kinds: Any, path: str, prefix: str, when: Condition, implied: str | None = None
    ) -> Node:
        if isinstance(node.value, str):  # a bare word stands for the block of that kind with its defaults
            node = YamlNode({"kind": node}, node.location)
        if not isinstance(node.value, dict):
            return self.refuse(
                node, path, f"must be a block with a kind ({', '.join(kinds)}); got {short_repr(node.to_python())}"
            )
        kind = node.value.get("kind")
        if kind is None and implied is None:
            return self.refuse(node, path, f"a block needs a kind: one of {', '.join(kinds)}")
        name = implied if kind is None else kind.to_python()
        if kind is None:
            self.locations[f"{path}.kind"] = node.location
        if name not in kinds:
            hint = did_you_mean(name, kinds)
            return self.refuse(
                kind or node,
                f"{path}.kind",
                f"must be one of {', '.join(kinds)}; got {short_repr(name)}{hint or PLUGIN}",
            )
        return self.block(node, kinds[name], path + ".", prefix, when, kinds)

    def _block_choice(self, node: YamlNode, kinds: Any, path: str, name: str, when: Condition) -> Node:
        options = self._options(node, path)
        blocks: dict[str, Fields] = {}
        parameter = f"{name}.kind"
        for option in options:
            kind = option.value if isinstance(option.value, str) else None
            if isinstance(option.value, dict) and "kind" in option.value:
                kind = option.value["kind"].to_python()
            if kind is None:
                self.refuse(option, path, f"each block of a choice needs a kind: one of {', '.join(kinds)}")
            elif kind in blocks:
                self.refuse(option, path, f"a choice may have each kind once; got {kind} again")
            else:
                block = self._kind(option, kinds, path, f"{name}.{kind}.", (parameter, str(kind)))
                blocks[str(kind)] = block if isinstance(block, Fields) else Fields({})
        self.locations.setdefault(f"{path}.kind", node.location)
        return BlockChoice(Parameter(parameter, f"{path}.kind", Choice(tuple(blocks)), when), blocks)

    def _options(self, node: YamlNode, path: str) -> list[YamlNode]:
        self._known_keys(node, "choice", path)
        options = node.value["choice"]
        if not isinstance(options.value, list) or not options.value:
            self.refuse(
                options, path, f"choice needs a list with at least one value; got {short_repr(options.to_python())}"
            )
            return []
        if not self.searchable:
            self.refuse(node, path, "cannot be searched: it belongs to the study and not to its configurations")
            return []
        return list(options.value)

    def _known_keys(self, node: YamlNode, kind: str, path: str) -> None:
        for key, value in node.value.items():
            if key not in _DISTRIBUTIONS[kind]:
                known = sorted(_DISTRIBUTIONS[kind])
                self.refuse(value, path, f"{kind} knows {', '.join(known)}; got {key}{did_you_mean(key, known)}")

    def _distribution(self, node: YamlNode, block: type[Block], field: str, parameter: Parameter) -> Node:
        path = parameter.path
        kinds = [kind for kind in _DISTRIBUTIONS if kind in node.value]
        if len(kinds) != 1:
            forms = "a value, {int: [low, high]}, {float: [low, high]} or {choice: [...]}"
            return self.refuse(node, path, f"must be {forms}; got {short_repr(node.to_python())}")
        if not self.searchable:
            return self.refuse(node, path, "cannot be searched: it belongs to the study and not to its configurations")
        distribution = self._choice(node, path) if kinds == ["choice"] else self._range(node, kinds[0], path)
        if distribution is None:
            return Fixed(None)
        for value in distribution.options if isinstance(distribution, Choice) else distribution.bounds():
            if (reason := validation_error(block, field, value)) is not None:
                return self.refuse(node, path, reason)
        return Parameter(parameter.name, path, distribution, parameter.condition)

    def _choice(self, node: YamlNode, path: str) -> Choice | None:
        values: dict[str, Any] = {}  # by their text: 1, 1.0 and true are equal, and three values
        for option in self._options(node, path):
            value = tuple(plain) if isinstance(plain := option.to_python(), list) else plain
            if repr(value) in values:
                self.refuse(option, path, f"a choice may have each value once; got {format_value(value)} again")
            values[repr(value)] = value
        return Choice(tuple(values.values())) if values else None

    def _range(self, node: YamlNode, kind: str, path: str) -> Distribution | None:
        self._known_keys(node, kind, path)
        found = len(self.problems)
        bounds, step, log = node.value[kind].to_python(), _plain(node, "step"), _plain(node, "log")
        types = (int,) if kind == "int" else (int, float)
        if not (isinstance(bounds, list) and len(bounds) == 2 and all(_is_number(bound, types) for bound in bounds)):
            what = "whole numbers" if kind == "int" else "finite numbers"
            self.refuse(node.value[kind], path, f"{kind} needs [low, high], two {what}; got {short_repr(bounds)}")
            return None
        low, high = bounds
        if low > high:
            self.refuse(node.value[kind], path, f"low must not be above high; got [{low}, {high}]. Swap them")
        if log not in (None, True, False):
            self.refuse(node.value["log"], path, f"log must be true or false; got {short_repr(log)}")
        if log is True and low <= 0:
            self.refuse(node.value[kind], path, f"a log range must lie above 0; got low {low}. Raise low, or drop log")
        if step is not None:
            if not _is_number(step, types) or step <= 0:
                self.refuse(node.value["step"], path, f"step must be a number above 0; got {short_repr(step)}")
            elif log is True:
                self.refuse(node.value["step"], path, "step and log exclude each other. Drop one of them")
            elif (reason := _misstep(low, high, step)) is not None:
                self.refuse(node.value["step"], path, reason)
        if len(self.problems) > found:
            return None
        if kind == "int":
            return IntRange(low, high, 1 if step is None else step, log is True)
        return FloatRange(float(low), float(high), step if step is None else float(step), log is True)


def _misstep(low: float, high: float, step: float) -> str | None:
    """Returns why a step does not lead through a range, or None if it does."""
    span, size = Fraction(str(high)) - Fraction(str(low)), Fraction(str(step))  # as written, in decimals
    if span > size * MAX_STEPS:
        return f"a range may have at most {MAX_STEPS:,} steps; got {step} from {low} to {high}. Drop step, or raise it"
    if span % size != 0:
        nearest = low if span < size else float(Fraction(str(low)) + span // size * size)
        return f"step must lead from {low} to {high}; got {step}. The last one ends at {nearest:.12g}"
    return None


def _plain(node: YamlNode, key: str) -> Any:
    return node.value[key].to_python() if key in node.value else None


def _is_number(value: object, types: tuple[type, ...]) -> bool:
    return type(value) in types and math.isfinite(value)  # type: ignore[arg-type]
