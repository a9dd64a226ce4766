"""Settings that the command line puts in place of what a file says."""

from dataclasses import dataclass
from typing import Any, Self

from pipeline.config.schema import implied_kind
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import Problem, SpaceError
from pipeline.space.yaml_text import MAX_DEPTH, MAX_NAME, YamlNode, parse


@dataclass(frozen=True)
class Override:
    """A setting that replaces what a file says.

    Attributes:
        path: Where it goes: in the space, or in the study after ``study.``.
        text: The value in YAML.
        location: The option that said it, for messages.
    """

    path: str
    text: str
    location: str

    @classmethod
    def parse(cls, option: str) -> Self:
        """Reads ``path=value``.

        Raises:
            SpaceError: It is not of that form.
        """
        path, equals, text = option.partition("=")
        if not equals or not all(path.split(".")):
            raise SpaceError([Problem("", "must be path=value, such as optimizer.lr=0.01", f"--set {option}")])
        if len(path) > MAX_NAME or path.count(".") >= MAX_DEPTH:
            message = (
                f"a path may have at most {MAX_NAME} characters and {MAX_DEPTH} names; got {len(path):,} characters"
            )
            raise SpaceError([Problem("", message, f"--set {option}")])
        return cls(path, text, f"--set {option}")


def apply_override(tree: YamlNode, override: Override, touched: set[str]) -> YamlNode:
    """Returns the tree with one override put in place; notes the path."""
    value = parse(override.text, override.location, lines=False)
    names = override.path.split(".")
    if names[0] not in ("study", "space"):
        names.insert(0, "space")
    touched.add(".".join(names[1:]))
    if names[0] == "space" and len(names) > 2 and (kind := _default_kind(tree, names[1])) is not None:
        tree = _put(tree, [*names[:2], "kind"], YamlNode(kind, override.location), override.location)
    return _put(tree, names, value, override.location)


def _default_kind(tree: YamlNode, block: str) -> str | None:
    """Returns the kind that a block has where the file leaves it out: what its settings imply, or the default."""
    space = tree.value.get("space", YamlNode({}, "")).value
    if block not in TrialConfig.model_fields or (isinstance(space, dict) and block in space):
        return None
    return implied_kind(TrialConfig, block) or getattr(TrialConfig.model_fields[block].default, "kind", None)


def _put(node: YamlNode, names: list[str], value: YamlNode, location: str) -> YamlNode:
    if not names:
        return value
    head, *rest = names
    inner = dict(node.value) if isinstance(node.value, dict) else {}
    choice = inner.get("choice")
    if choice is not None and isinstance(choice.value, list):
        kinds = [_kind_of(option) for option in choice.value]
        if head == "kind" and not rest and value.to_python() in kinds:  # keeps that block alone
            return choice.value[kinds.index(value.to_python())]  # type: ignore[no-any-return]
        if head in kinds:
            options = [
                _put(
                    option if isinstance(option.value, dict) else YamlNode({"kind": option}, location),
                    rest,
                    value,
                    location,
                )
                if kind == head
                else option
                for kind, option in zip(kinds, choice.value, strict=True)
            ]
            return YamlNode({**inner, "choice": YamlNode(options, choice.location)}, node.location)
        if all(isinstance(option.value, dict | str) for option in choice.value):
            message = (
                f"it is a choice here: set .kind, or name the kind before .{head}; kinds: {', '.join(map(str, kinds))}"
            )
            raise SpaceError([Problem(head, message, location)])
    if isinstance(node.value, str):  # a bare word stands for the block of that kind
        inner = {"kind": node}
    inner[head] = _put(inner.get(head, YamlNode({}, location)), rest, value, location)
    return YamlNode(inner, node.location)


def _kind_of(option: YamlNode) -> Any:
    if isinstance(option.value, dict):
        return option.value["kind"].to_python() if "kind" in option.value else None
    return option.to_python()
