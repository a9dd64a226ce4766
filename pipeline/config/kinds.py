"""Kinds: which blocks of settings may stand in a place, and what is built of them.

A group (model, optimizer, ...) is a table of kinds. Built-ins are registered where their blocks are declared, plug-ins
by `pipeline.plugins`: both by `register`. What a kind is built by is named, and imported when something is built, so
that settings need neither torch nor Optuna.
"""

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from pipeline.core.errors import DnntuneError, PluginError
from pipeline.core.text import shortened

BUILT_IN = "built-in"


class Block(BaseModel):
    """A group of settings: immutable, and strict about types and names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class KindBlock(Block):
    """A block that may stand where its group may: its kind tells it from the group's others."""

    group: ClassVar[str]
    kind: str


class KindName(NamedTuple):
    """A kind's group and its name in it."""

    group: str
    name: str


@dataclass(frozen=True)
class Kind:
    """A row of a group's table.

    Attributes:
        block: The settings.
        build: What builds it from a block and what else its group says; or where a table of those is, from kind to
            builder (``module:TABLE``).
        origin: Where it comes from.
    """

    block: type[KindBlock]
    build: Callable[..., Any] | str
    origin: str

    @property
    def description(self) -> str:
        """The block's own docstring, on one line; empty if it has none."""
        return " ".join((self.block.__dict__.get("__doc__") or "").split())

    def failure(self, error: BaseException) -> str:
        """Returns an error that it has raised in a line: the last line of its file that it passed through, and what."""
        file = getattr(sys.modules.get(self.block.__module__), "__file__", None)
        passed = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        return f"{file}:{passed[-1]}: {_described(error)}" if passed else _described(error)

    def builder(self) -> Callable[..., Any]:
        """Returns what builds it; a built-in's module is imported now."""
        if not isinstance(self.build, str):
            return self.build
        module, table = self.build.split(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), table)[kind_name(self.block)]
        return found


_GROUPS: dict[str, dict[str, Kind]] = {}


def kind_name(block: type[Block]) -> str:
    """Returns the kind of a block.

    Raises:
        PluginError: Its kind is not one fixed word.
    """
    field = block.model_fields["kind"]
    words = get_args(field.annotation)
    if len(words) != 1 or not isinstance(words[0], str) or field.default != words[0]:
        raise PluginError(
            f'{block.__qualname__}.kind must be one fixed word. Write kind: Literal["my_kind"] = "my_kind" in the class'
        )
    name: str = words[0]
    return name


def register(block: type[KindBlock], build: Callable[..., Any] | str, origin: str = BUILT_IN) -> None:
    """Adds a kind to its group.

    Args:
        block: The settings; a subclass of the group's base.
        build: See `Kind`.
        origin: Where it comes from.

    Raises:
        PluginError: The block has no kind of its own, or its group has that kind already.
    """
    name, group = kind_name(block), _GROUPS.setdefault(block.group, {})
    if (there := group.get(name)) is not None:
        raise PluginError(
            f"{block.group} has a kind {name} already ({there.origin}). Give {block.__qualname__} another kind"
        )
    group[name] = Kind(block, build, origin)


def register_built_ins(table: str, *blocks: type[KindBlock]) -> None:
    """Adds built-in kinds, whose builders are in a table (``module:TABLE``)."""
    for block in blocks:
        register(block, table)


def unregister(origin: str) -> None:
    """Removes all kinds of an origin."""
    for group in _GROUPS.values():
        for name in [name for name, kind in group.items() if kind.origin == origin]:
            del group[name]


def groups() -> tuple[str, ...]:
    """Returns the names of all groups."""
    return tuple(_GROUPS)


def kinds(group: str) -> Mapping[str, Kind]:
    """Returns a group's kinds by name, built-ins first."""
    return _GROUPS.get(group, {})


def build(block: KindBlock, *arguments: Any) -> Any:
    """Builds what a block describes: see `docs/plugins.md` for what each group's builder is given and returns.

    Raises:
        PluginError: A plug-in's builder has raised an error; says where.
    """
    row = kinds(block.group)[block.kind]
    if row.origin == BUILT_IN:
        return row.builder()(block, *arguments)
    try:
        return row.builder()(block, *arguments)
    except DnntuneError:
        raise
    except Exception as error:
        raise PluginError(f"{_named(row)} cannot be built: {row.failure(error)}") from error


def built(block: KindBlock, *arguments: Any, returns: Any) -> Any:
    """Builds what a block describes, see `build`, and proves that it is of a class.

    Raises:
        PluginError: See `build`; or a plug-in's builder has returned something else.
    """
    made = build(block, *arguments)
    if not isinstance(made, returns):
        row = kinds(block.group)[block.kind]
        raise PluginError(
            f"{_named(row)}: its builder must return a {returns.__module__.partition('.')[0]} {returns.__name__}; got "
            f"{shortened(repr(made), 60)}. Return what docs/plugins.md says of a {block.group}"
        )
    return made


def _named(row: Kind) -> str:
    return f"{row.block.group} {kind_name(row.block)} ({row.origin})"


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@dataclass(frozen=True)
class KindOf:
    """Marks a field that holds a block of any kind of a group, those that are registered later included."""

    group: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validated, serialization=core_schema.simple_ser_schema("any")
        )

    def _validated(self, value: Any) -> KindBlock:
        known = kinds(self.group)
        kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
        row = known.get(kind) if isinstance(kind, str) else None
        if row is None:
            raise PydanticCustomError(
                "kind",
                "Input should be a block with a kind: {kinds}; got {kind}",
                {"kinds": ", ".join(known), "kind": repr(kind)},
            )
        return row.block.model_validate(value)


@dataclass(frozen=True)
class ImpliedKind:
    """Marks a field whose block may leave out its kind, and which kind that means."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._say_it, handler(source))

    def _say_it(self, value: Any) -> Any:
        return {"kind": self.kind, **value} if isinstance(value, dict) else value
