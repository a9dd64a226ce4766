"""What the configuration classes say about a path: its blocks, kinds, fields, and whether a value fits."""

import difflib
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipeline.config.kinds import Block, ImpliedKind, KindBlock, KindName, KindOf, kind_name, kinds
from pipeline.core.text import shortened


def kinds_of(annotation: Any) -> Mapping[str, type[Block]]:
    """Returns the kinds of block that an annotation admits, by name; empty for anything else."""
    if (mark := _mark(getattr(annotation, "__metadata__", ()))) is not None:
        return {name: kind.block for name, kind in kinds(mark.group).items()}
    return _kinds_of_union(annotation)


@functools.cache
def _kinds_of_union(annotation: Any) -> Mapping[str, type[Block]]:
    found: dict[str, type[Block]] = {}
    for member in members_of(annotation):
        if isinstance(member, type) and issubclass(member, Block) and "kind" in member.model_fields:
            found[kind_name(member)] = member
    return found


def _mark(metadata: Iterable[Any]) -> KindOf | None:
    return next((mark for mark in metadata if isinstance(mark, KindOf)), None)


def kinds_in(values: Mapping[str, Any], block: type[Block]) -> Iterator[KindName]:
    """Yields the registered kinds that a space or configuration names.

    Args:
        values: Plain values in the shape of the block, with distributions in places.
        block: Its class.
    """
    for name, value in values.items():
        if name not in block.model_fields:
            continue
        annotation = annotation_of(block, name)
        if (plain := block_of(annotation)) is not None and isinstance(value, dict):
            yield from kinds_in(value, plain)
        known = kinds_of(annotation)
        options = value["choice"] if isinstance(value, dict) and "choice" in value else [value]
        for option in options if known else ():
            fields = option if isinstance(option, dict) else {"kind": option}
            if (child := known.get(str(fields.get("kind", implied_kind(block, name))))) is not None:
                if issubclass(child, KindBlock):
                    yield KindName(child.group, kind_name(child))
                yield from kinds_in(fields, child)


def implied_kind(block: type[Block], field: str) -> str | None:
    """Returns the kind that a field's block has where it names none, if it may leave it out."""
    marks = (mark.kind for mark in block.model_fields[field].metadata if isinstance(mark, ImpliedKind))
    return next(marks, None)


def block_of(annotation: Any) -> type[Block] | None:
    """Returns the one block without kinds that an annotation stands for, if it does."""
    if isinstance(annotation, type) and issubclass(annotation, Block) and "kind" not in annotation.model_fields:
        return annotation
    return None


def annotation_of(block: type[Block], field: str) -> Any:
    """Returns a field's type, without its constraints; that of a registered group's blocks with its mark."""
    info = block.model_fields[field]
    mark = _mark(info.metadata)
    return info.annotation if mark is None else Annotated[info.annotation, mark]


def validation_error(block: type[Block], field: str, value: Any) -> str | None:
    """Returns why a value does not fit a field, or None if it does.

    Args:
        block: The configuration class.
        field: One of its fields, holding a value and not a block.
        value: A plain value.
    """
    try:
        _adapter(block, field).validate_python(value)
    except ValidationError as error:
        rules = dict.fromkeys(_rule(detail["type"], detail["msg"]) for detail in error.errors())
        words = [str(word) for word in _words(annotation_of(block, field))]
        if words and len(rules) == 1:
            return f"must be one of {', '.join(words)}; got {short_repr(value)}{did_you_mean(value, words)}"
        return f"{' or '.join(rules)}; got {short_repr(value)}"
    return None


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Returns a hint at the nearest known name, or nothing."""
    near = difflib.get_close_matches(str(value)[:100], list(known), n=1)
    return f". Did you mean {near[0]}?" if near else ""


def paths_ending_in(name: str, block: type[Block]) -> list[str]:
    """Returns the paths of all settings of this name anywhere below a block."""
    return [path for path in dict.fromkeys(_paths(block, "")) if path.split(".")[-1] == name]


def short_repr(value: object) -> str:
    """Writes a value for an error message."""
    return shortened(repr(value), 60)


@functools.cache
def _adapter(block: type[Block], field: str) -> TypeAdapter[Any]:
    info = block.model_fields[field]
    constrained: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(
        constrained,
        config=ConfigDict(strict=True, allow_inf_nan=False),
    )


def _rule(kind: str, message: str) -> str:
    if kind == "none_required":
        return "must be null"
    rule = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return rule.replace("a valid integer", "an integer").replace("valid tuple", "list").replace("valid ", "")


def members_of(annotation: Any) -> Iterator[Any]:
    """Returns the types that a union is made of, without their constraints; of anything else, that itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members_of(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from members_of(member)
    else:
        yield annotation


def _words(annotation: Any) -> list[Any]:
    return [word for member in members_of(annotation) if get_origin(member) is Literal for word in get_args(member)]


def _paths(block: type[Block], prefix: str) -> Iterator[str]:
    for name in block.model_fields:
        annotation = annotation_of(block, name)
        yield prefix + name
        below = [plain] if (plain := block_of(annotation)) else list(kinds_of(annotation).values())
        for child in below:
            if child is not block:
                yield from _paths(child, f"{prefix}{name}.")
