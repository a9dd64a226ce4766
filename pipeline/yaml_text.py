"""YAML 1.2 in both directions: reading with line numbers and without running code, writing plain values.

YAML 1.2 means that ``1e-3`` is a number and ``off``, ``no`` and ``yes`` are words.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.errors import Problem, SpaceError

# More than any search space needs; aliases of aliases would otherwise expand without end.
MAX_NODES = 100_000

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"  # YAML 1.2 has none: it is a word


@dataclass(frozen=True)
class Located:
    """A value with the place it was written at.

    Attributes:
        value: A scalar, a list of `Located`, or a dict from string to `Located`.
        origin: ``file:line``, or the command-line option that said it.
    """

    value: Any
    origin: str

    def plain(self) -> Any:
        """Returns the value without places: scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def locate(value: Any, origin: str) -> Located:
    """Gives a plain value, and all in it, one origin."""
    if isinstance(value, dict):
        return Located({key: locate(item, origin) for key, item in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Located([locate(item, origin) for item in value], origin)
    return Located(value, origin)


def parse(text: str, name: str, *, lines: bool = True) -> Located:
    """Reads one YAML document.

    Args:
        text: The document.
        name: What origins call it, a file's name or an option.
        lines: Whether origins have line numbers.

    Raises:
        SpaceError: It is not YAML, uses a tag, or repeats a key.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(io.StringIO(text))
        reader = _Reader(yaml, name, lines)
        located = Located(None, name) if root is None else reader.read(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = f"{name}:{mark.line + 1}" if mark is not None and lines else name
        raise SpaceError([Problem("", f"is not YAML: {error.problem or error.context}", origin)]) from None
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

    def read(self, node: Node) -> Located:
        origin = f"{self.name}:{node.start_mark.line + 1}" if self.lines else self.name
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES or id(node) in self.open:
            raise ValueError(f"an alias of itself, or more than {MAX_NODES} values")
        if str(node.tag) == _TIMESTAMP:
            return Located(node.value, origin)
        if str(node.tag) not in _PLAIN_TAGS:
            self.problems.append(Problem("", f"tags are refused: a space is data; got {node.tag}", origin))
            return Located("", origin)
        if isinstance(node, ScalarNode):
            return Located(self.yaml.constructor.construct_object(node), origin)
        self.open.add(id(node))
        if isinstance(node, MappingNode):
            value: Any = dict(self._items(node, origin))
        else:
            assert isinstance(node, SequenceNode)
            value = [self.read(item) for item in node.value]
        self.open.remove(id(node))
        return Located(value, origin)

    def _items(self, node: MappingNode, origin: str) -> Iterator[tuple[str, Located]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self.read(key_node)
            if not isinstance(key.value, str):
                self.problems.append(Problem("", f"a name must be a word; got {key.plain()!r}", key.origin))
                continue
            if key.value in seen:
                self.problems.append(Problem("", f"a name may stand only once; got {key.value} again", key.origin))
            seen.add(key.value)
            yield key.value, self.read(value_node)


def read_text(source: str) -> str:
    """Reads a file, or standard input for ``-``.

    Raises:
        SpaceError: The file cannot be read, or is not text.
    """
    try:
        if source == "-":
            import sys

            return sys.stdin.read()
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpaceError([Problem("", f"cannot be read: {reason}", source)]) from None


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
