"""The names of timm's architectures, read from its source: to import timm takes seconds, and torch with it."""

import functools
import importlib.util
import re
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
_RENAMED = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"""['"](\w+)['"]\s*:""")


@functools.cache
def timm_architectures() -> frozenset[str]:
    """Returns the names that a backbone can have, old ones included, without the tags of certain weights."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    names: set[str] = set()
    for file in (Path(spec.origin).parent / "models").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        names.update(_REGISTERED.findall(text))
        for mapping in _RENAMED.findall(text):
            names.update(_KEY.findall(mapping))
    return frozenset(names)
