"""The names of timm's architectures, read from its source: to import timm takes seconds, and torch with it."""

import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
_RENAMED = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"""['"](\w+)['"]\s*:""")
_TAGGED = re.compile(r"""['"](\w+)\.([\w.-]+)['"]\s*:""")


@functools.cache
def timm_architectures() -> frozenset[str]:
    """Returns the names that a backbone can have, old ones included, without the tags of certain weights."""
    names: set[str] = set()
    for text in _sources():
        names.update(_REGISTERED.findall(text))
        for mapping in _RENAMED.findall(text):
            names.update(_KEY.findall(mapping))
    return frozenset(names)


@functools.cache
def timm_tags() -> Mapping[str, frozenset[str]]:
    """Returns the tags of certain weights by architecture; one whose tags timm computes is not among them."""
    tags: dict[str, set[str]] = {}
    for text in _sources():
        for architecture, tag in _TAGGED.findall(text):
            tags.setdefault(architecture, set()).add(tag)
    return {architecture: frozenset(known) for architecture, known in tags.items()}


@functools.cache
def _sources() -> tuple[str, ...]:
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    return tuple(file.read_text(encoding="utf-8") for file in (Path(spec.origin).parent / "models").glob("*.py"))
