"""Writes docs/configuration.md from the configuration classes: `make docs`."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pipeline.config.kinds import Block
from pipeline.config.schema import annotation_of, block_of, kinds_of, members_of
from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig

TARGET = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration reference

Every setting of a search-space file, made from the configuration classes (`pipeline/config/`)
by `make docs`. In the block `space`, each value can be searched: write `{int: [low, high]}`,
`{float: [low, high]}` or `{choice: [...]}` in its place (see [search_spaces/README.md](../search_spaces/README.md)).

Epochs are counted from 1, and one meaning of waiting holds for early stopping, the performance schedule and all
pruners: a patience of p ends with the p-th epoch in a row that is no improvement on the best before it (5, after a best
epoch 1, with epoch 6); the epochs of a warm-up or a cooldown do not count as such, and nothing is decided at the end of
a warm-up's, so that after w of them the first decision falls at the end of epoch w + 1; min_epochs is what every trial
gets, so that the first falls at the end of that epoch; and a trial that has trained its last epoch is never pruned.

A file has at most 1 MiB, 20,000 values (those of aliases counted each time) in at most 32 levels, and whole numbers of
at most 2^53. It has no YAML tags, and each name once. A rule about several settings is proven at up to 2,000
combinations of their extremes: where choices of lists or words make more, the file is refused.
"""


def main() -> None:
    """Writes the page."""
    TARGET.write_text(page(), encoding="utf-8")


def page() -> str:
    """Returns the page as Markdown."""
    parts = [HEAD, *section("space", TrialConfig), *section("study", StudyConfig)]
    return "\n".join(parts)


def section(path: str, block: type[Block], title: str | None = None) -> list[str]:
    """Returns a block's table, and below it the sections of the blocks in it."""
    level = "#" * min(path.count(".") + 2, 4)
    intro = described(block)
    below: list[str] = []
    rows: list[str] = []
    for name, field in block.model_fields.items():
        if name == "kind":
            continue
        annotation = annotation_of(block, name)
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {words(annotation)} | {default(field)} | {text} |")
        if (plain := block_of(annotation)) is not None:
            below += section(f"{path}.{name}", plain)
        for kind, child in kinds_of(annotation).items():
            below += section(f"{path}.{name}", child, title=f"{path}.{name}: kind {kind}")
    lines = [f"{level} {title or path}", "", *intro] if intro or rows else []
    if rows:
        lines += ["| setting | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    return lines + below


def described(block: type[Block]) -> list[str]:
    """Returns a block's own docstring as a paragraph, if it has one."""
    own = block.__dict__.get("__doc__")
    return [" ".join(own.split()), ""] if own else []


def words(annotation: Any) -> str:
    """Returns what a value may be, for the table."""
    if kinds := kinds_of(annotation):
        return "block: " + ", ".join(kinds)
    if block_of(annotation) is not None:
        return "block"
    members = list(members_of(annotation))
    if len(members) > 1:
        return " or ".join(dict.fromkeys(words(member) for member in members))
    if get_origin(members[0]) is Literal:
        return ", ".join(map(str, get_args(members[0])))
    if get_origin(members[0]) is tuple:
        (item, *_) = get_args(members[0])
        return f"list of {words(item)}" if get_origin(item) is Literal else "list"
    names = {int: "integer", float: "number", bool: "true, false", str: "text", type(None): "null"}
    return names[members[0]]


def default(field: Any) -> str:
    """Returns a field's default, for the table."""
    if field.is_required():
        return "required"
    if isinstance(field.default, Block):
        kind = getattr(field.default, "kind", None)
        return f"`{kind}`" if kind else ""
    if field.default is None:
        return "null"
    if isinstance(field.default, tuple):
        return f"`[{', '.join(map(str, field.default))}]`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    main()
