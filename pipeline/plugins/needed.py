"""Which plug-ins a study or an export needs: noted when it is made, proven where it is used."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from typing_extensions import TypedDict

from pipeline.config.kinds import KindName
from pipeline.config.metrics import METRICS
from pipeline.core.errors import PluginError
from pipeline.plugins.loading import METRIC, SHOWN_DIGITS, Plugin, plugin_of


class NeededPlugin(TypedDict):
    """What a plug-in is called, its version or the SHA-256 of its source, and its kinds that are needed, by group."""

    name: str
    version: str
    kinds: list[tuple[str, str]]


def needed_plugins(named: Iterable[KindName]) -> list[NeededPlugin]:
    """Returns the plug-ins that some kinds come from; none for built-ins."""
    found: dict[Plugin, list[KindName]] = {}
    for kind in dict.fromkeys(named):
        if (plugin := plugin_of(*kind)) is not None:
            found.setdefault(plugin, []).append(kind)
    return [
        NeededPlugin(name=plugin.short_name, version=plugin.version, kinds=[(kind.group, kind.name) for kind in added])
        for plugin, added in found.items()
    ]


def metrics_in(values: Any) -> Iterator[KindName]:
    """Yields the metrics that settings name, as plain values, wherever they do."""
    if isinstance(values, str) and values in METRICS:
        yield KindName(METRIC, values)
    elif isinstance(values, Mapping):
        yield from metrics_in(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from metrics_in(value)


def are_loaded(plugins: Iterable[NeededPlugin]) -> bool:
    """Returns whether all plug-ins that are needed are there, in the same version."""
    return all(
        (plugin := plugin_of(group, kind)) is not None and plugin.version == needed["version"]
        for needed in plugins
        for group, kind in needed["kinds"]
    )


def check_plugins(study: str, plugins: Iterable[NeededPlugin], *, computes: bool) -> None:
    """Proves that the plug-ins that a study needs are loaded.

    Args:
        study: The study's name.
        plugins: What it needs, as it was noted.
        computes: Whether something will be trained or measured for it: its plug-ins must be those of its trials then,
            to the letter, or its numbers would be those of two programs. To look at it, the same kinds are enough.

    Raises:
        PluginError: One is missing, or has changed.
    """
    for needed in plugins:
        name, version = needed["name"], needed["version"]
        option = f"--plugin {name}" if name.endswith(".py") else "--plugin MODULE, or install its package"
        for group, kind in needed["kinds"]:
            if (here := plugin_of(group, kind)) is None:
                raise PluginError(
                    f"study {study} needs the plug-in {name} ({_shown(version)}) for the {group} {kind}, and it is not "
                    f"loaded. Give it with {option}"
                )
            if computes and here.version != version:
                raise PluginError(
                    f"study {study} was started with another {name} ({_shown(version)}; this one is "
                    f"{_shown(here.version)}): trials of both do not compare. Give the old one with --plugin, or start "
                    "a new study with --study NAME"
                )


def _shown(version: str) -> str:
    is_hash = len(version) == 64 and version.isalnum()
    return f"SHA-256 {version[:SHOWN_DIGITS]}..." if is_hash else version
