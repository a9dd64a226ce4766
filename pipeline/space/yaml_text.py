"""YAML 1.2 in both directions: reading with line numbers and without running code, writing plain values.

YAML 1.2 means that ``1e-3`` is a number and ``off``, ``no`` and ``yes`` are words.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.core.errors import Problem, SpaceError
from pipeline.core.filesystem.files import read_text_file
from pipeline.core.text import UnreadableError, shortened, text_of

# Bounds of a document, more than any search space needs: none keeps a reader busy for longer than a few seconds. Values
# are counted as they are read, so that aliases of aliases cannot expand without end.
MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_NAME = 2**20, 32, 20_000, 200
# Studies keep whole numbers as floats, which have all of them up to here.
MAX_INT = 2**53

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}": word for name, word in (
    ("null", "null"), ("bool", "true or false"), ("int", "a whole number"), ("float", "a number"), ("str", "text")
)}  # fmt: skip
_TIMESTAMP = f"{_TAG}timestamp"  # YAML 1.2 has none: it is a word
# What constructors raise for text that their tag does not suit.
_UNSUITABLE = (ArithmeticError, LookupError, ValueError)


@dataclass(frozen=True)
class YamlNode:
    """A value with the place it was written at.

    Attributes:
        value: A scalar, a list of `YamlNode`, or a dict from string to `YamlNode`.
        location: ``file:line``, or the command-line option that said it.
    """

    value: Any
    location: str

    def to_python(self) -> Any:
        """Returns the value without places: scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.to_python() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.to_python() for node in self.value]
        return self.value


def with_location(value: Any, location: str) -> YamlNode:
    """Gives a plain value, and all in it, one origin."""
    if isinstance(value, dict):
        return YamlNode({key: with_location(item, location) for key, item in value.items()}, location)
    if isinstance(value, list | tuple):
        return YamlNode([with_location(item, location) for item in value], location)
    return YamlNode(value, location)


def parse(text: str, name: str, *, lines: bool = True) -> YamlNode:
    """Reads one YAML document.

    Args:
        text: The document.
        name: What origins call it, a file's name or an option.
        lines: Whether origins have line numbers.

    Raises:
        SpaceError: It is not YAML, uses a tag, repeats a key, or passes a bound.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = MAX_DEPTH
    try:
        root = yaml.compose(io.StringIO(text))
        reader = _Reader(yaml, name, lines)
        located = YamlNode(None, name) if root is None else reader.read(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = f"{name}:{mark.line + 1}" if mark is not None and lines else name
        message = f"is not YAML: {error.problem or error.context}"
        if isinstance(error, MaxDepthExceededError):
            message = f"values may be nested at most {MAX_DEPTH} levels deep. Use fewer levels"
        raise SpaceError([Problem("", message, location)]) from None
    except (YAMLError, ValueError) as error:  # characters that YAML forbids, broken scalars
        reason = str(error).splitlines()[0]
        raise SpaceError([Problem("", f"is not YAML: {reason}", name)]) from None
    if reader.problems:
        raise SpaceError(reader.problems)
    return located


class _Reader:
    def __init__(self, yaml: YAML, name: str, lines: bool) -> None:
        self.yaml, self.name, self.lines = yaml, name, lines
        self.problems: list[Problem] = []
        self.num_nodes = 0
        self.open: set[int] = set()  # the nodes that the one being read lies in

    def read(self, node: Node) -> YamlNode:
        location = f"{self.name}:{node.start_mark.line + 1}" if self.lines else self.name
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            self.give_up(f"a file may have at most {MAX_NODES:,} values, those of aliases counted each time", location)
        if id(node) in self.open or len(self.open) > MAX_DEPTH:
            self.give_up("an alias of itself, or aliases too deep in each other. Write the value out", location)
        tag = str(node.tag)
        if tag == _TIMESTAMP and isinstance(node, ScalarNode):
            return YamlNode(node.value, location)
        if isinstance(node, ScalarNode) and tag in _SCALARS:
            return YamlNode(self.scalar(node, tag, location), location)
        if (type(node), tag) not in ((MappingNode, f"{_TAG}map"), (SequenceNode, f"{_TAG}seq")):
            return self.refuse(
                "", f"tags are refused: a space is data; got {shortened(tag, 100)}. Leave it out", location
            )
        self.open.add(id(node))
        if isinstance(node, MappingNode):
            value: Any = dict(self._items(node))
        else:
            assert isinstance(node, SequenceNode)
            value = [self.read(item) for item in node.value]
        self.open.remove(id(node))
        return YamlNode(value, location)

    def scalar(self, node: ScalarNode, tag: str, location: str) -> Any:
        try:
            value = self.yaml.constructor.construct_object(node)
            if type(value) is not int or abs(value) <= MAX_INT:
                return value
            reason = f"a whole number may be at most {MAX_INT:,} large; it has {len(node.value):,} characters"
        except _UNSUITABLE:
            reason = f"must be {_SCALARS[tag]}, as its tag or its form says; got {shortened(repr(node.value), 60)}"
            if len(node.value) > 1000:  # Python's own bound on digits
                reason = f"a whole number may be at most {MAX_INT:,} large; it has {len(node.value):,} characters"
        return self.refuse(None, reason, location).value

    def refuse(self, stands_in: Any, message: str, location: str) -> YamlNode:
        self.problems.append(Problem("", message, location))
        return YamlNode(stands_in, location)

    def give_up(self, message: str, location: str) -> NoReturn:
        raise SpaceError([*self.problems, Problem("", message, location)])

    def _items(self, node: MappingNode) -> Iterator[tuple[str, YamlNode]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self.read(key_node)
            if not isinstance(key.value, str):
                got = shortened(repr(key.to_python()), 60)
                self.problems.append(Problem("", f"a name must be a word; got {got}", key.location))
                continue
            if len(key.value) > MAX_NAME:
                got = shortened(repr(key.value), 60)
                message = f"a name may have at most {MAX_NAME} characters; got {len(key.value):,}: {got}"
                self.problems.append(Problem("", message, key.location))
                continue
            if key.value in seen:
                self.problems.append(Problem("", f"a name may stand only once; got {key.value} again", key.location))
            seen.add(key.value)
            yield key.value, self.read(value_node)


def read_text(source: str) -> str:
    """Reads a file, or standard input for ``-``.

    Raises:
        SpaceError: It cannot be read, is not a regular file or not text, or has more than `MAX_BYTES`.
    """
    try:
        if source == "-":
            import sys

            return text_of(sys.stdin.buffer.read(MAX_BYTES + 1), MAX_BYTES)
        return read_text_file(Path(source), MAX_BYTES)
    except UnreadableError as error:
        name = "standard input" if source == "-" else source
        raise SpaceError([Problem("", f"cannot be read: {error}", name)]) from None


def dump(value: Any) -> str:
    """Writes plain values (dicts, lists, tuples, scalars) as YAML that `parse` reads back to equal values."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists of scalars on one line, mappings on a line each
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.representer.add_representer(tuple, yaml.representer.represent_list.__func__)
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()
