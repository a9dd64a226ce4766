"""Loads plug-ins: files, modules, and those of installed packages. Only what a user names or installs is ever run."""

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import linecache
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pipeline.config import kinds, metrics
from pipeline.config.kinds import KindBlock
from pipeline.config.metrics import METRICS, Direction, MetricRow, unregister_metrics
from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DnntuneError, PluginError

# Their modules register the built-ins, before any plug-in does.
CONFIGURED = (TrialConfig, StudyConfig)
# The group of the metrics: they have a table of their own, as they have no settings.
METRIC = "metric"
ENTRY_POINTS = "dnntune.plugins"
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Plugin:
    """A plug-in that is loaded; it can be sent to another process, which loads the same.

    Attributes:
        way: How it was found.
        name: The file's absolute path, the module's name, or the entry point's.
        version: The version of an entry point's package; of a file or module the SHA-256 of its source.
        source: A file's bytes: a process that is given them does not read the file, which may have changed.
    """

    way: Literal["file", "module", "entry point"]
    name: str
    version: str
    source: bytes | None = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        """What its kinds are registered under."""
        return f"{self.way} {self.name}"

    @property
    def short_name(self) -> str:
        """Its name without the folders of this machine."""
        return Path(self.name).name if self.way == "file" else self.name


_loaded: dict[str, Plugin] = {}
_loading: list[Plugin] = []
_installed_are_loaded = False


def loaded_plugins() -> tuple[Plugin, ...]:
    """Returns the plug-ins of this process, in the order in which they were loaded."""
    return tuple(_loaded.values())


def plugin_names() -> list[str]:
    """Returns what `load_plugins` is given to load those of this process that a user has named."""
    return [plugin.name for plugin in _loaded.values() if plugin.way != "entry point"]


def plugin_of(group: str, name: str) -> Plugin | None:
    """Returns where a kind, or a metric, comes from; None for a built-in, and where there is none."""
    row = METRICS.get(name) if group == METRIC else kinds.kinds(group).get(name)
    return None if row is None else _loaded.get(row.origin)


def plugins_of_environment() -> list[str]:
    """Returns what $DNNTUNE_PLUGINS names: files and modules, apart as folders are in $PATH."""
    return [name for name in os.environ.get("DNNTUNE_PLUGINS", "").split(os.pathsep) if name]


def load_plugins(names: Sequence[str | Path]) -> None:
    """Loads plug-ins, first those of installed packages. One that is loaded stays; a file that has changed is replaced.

    Args:
        names: Files (``mine.py``, ``folder/mine.py``) and modules (``package.module``).

    Raises:
        PluginError: One is not there, raises an error, or registers nothing or what it must not; says where.
    """
    load_installed()
    for name in names:
        plugin = _file(Path(name)) if _is_file(name) else _module(str(name))
        load([plugin])


def load_installed() -> None:
    """Loads the plug-ins of installed packages: the modules that their entry points in `dnntune.plugins` name.

    Raises:
        PluginError: See `load_plugins`.
    """
    global _installed_are_loaded
    if _installed_are_loaded:
        return
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        load([_installed(point)])
    _installed_are_loaded = True


def load(plugins: Iterable[Plugin]) -> None:
    """Loads plug-ins that have been found, here or in another process.

    Raises:
        PluginError: See `load_plugins`; or a module or package has another content here.
    """
    for plugin in plugins:
        known = _loaded.get(plugin.origin)
        if known == plugin or plugin.version in (each.version for each in _loaded.values() if each.way == "file"):
            continue
        if known is not None:
            unload(known)
        with _registering(plugin):
            _run(plugin)
        if not _registered(plugin):
            raise PluginError(
                f"plug-in {plugin.name} must register a kind, and registers none. Decorate a function with "
                "@register(MyBlock): see docs/plugins.md"
            )
        _loaded[plugin.origin] = plugin


def unload(plugin: Plugin) -> None:
    """Removes a plug-in's kinds from this process."""
    kinds.unregister(plugin.origin)
    unregister_metrics(plugin.origin)
    _loaded.pop(plugin.origin, None)
    sys.modules.pop(_module_name(plugin), None)


def register_kind(block: type[KindBlock], build: Callable[..., Any]) -> None:
    """Adds a kind of the plug-in that is being loaded, or of the module that defines its block.

    Raises:
        PluginError: See `pipeline.plugins.contract.register`.
    """
    if not (isinstance(block, type) and issubclass(block, KindBlock) and hasattr(block, "group")):
        raise PluginError(f"register needs a block: a subclass of ModelBlock, OptimizerBlock, ...; got {block!r}")
    with _origin_of(block) as origin:
        kinds.register(block, build, origin)


def register_metric(
    name: str, build: Callable[[Sequence[str]], Any], *, direction: Direction, description: str
) -> None:
    """Adds a metric to the plug-in that is being loaded, or to the module that defines its builder.

    Raises:
        PluginError: See `pipeline.plugins.contract.metric`.
    """
    with _origin_of(build) as origin:
        measures = partial(_meter, name, build)
        metrics.register_metric(
            name, MetricRow(direction, description, low=None, high=None, build=measures, origin=origin)
        )


def _meter(name: str, build: Callable[[Sequence[str]], Any], _argument: str | None, class_names: Sequence[str]) -> Any:
    try:
        meter = build(class_names)
    except Exception as error:
        raise PluginError(f"metric {name} cannot be built: {type(error).__name__}: {error}") from error
    if missing := [method for method in ("update", "compute", "reset", "to") if not hasattr(meter, method)]:
        raise PluginError(
            f"metric {name}: its builder must return what has the methods of a torchmetrics.Metric; "
            f"{type(meter).__name__} has no {', '.join(missing)}. Derive its class from torchmetrics.Metric"
        )
    return meter


@contextlib.contextmanager
def _origin_of(defined: Any) -> Iterator[str]:
    """Gives the origin of what is registered: the plug-in that is being loaded, or the module that defines it."""
    if _loading:
        yield _loading[-1].origin
        return
    if defined.__module__ == "__main__":
        raise PluginError(
            f"workers cannot find {defined.__qualname__}, which is defined in a notebook or script. Write it to a "
            "file, and name that: --plugin FILE.py, or plugins=[...]"
        )
    plugin = _module(defined.__module__)  # its module was imported by other code
    yield plugin.origin
    _loaded[plugin.origin] = plugin


def place_of(error: BaseException, plugin: Plugin) -> str:
    """Returns the last line of a plug-in that an error passed through, as ``file:line``."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    folder = None if plugin.way == "file" else _folder(_imported_name(plugin))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == plugin.name or (folder is not None and Path(frame.filename).is_relative_to(folder)):
            return f"{frame.filename}:{frame.lineno}"
    return plugin.name


def failure(error: BaseException, plugin: Plugin) -> str:
    """Returns what a plug-in has raised, in a line: where, what, and its text."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{place_of(error, plugin)}: {type(error).__name__}: {text}" if text else f"{place_of(error, plugin)}"


@contextlib.contextmanager
def _registering(plugin: Plugin) -> Iterator[None]:
    """Gives a plug-in what it registers; takes it back if it fails."""
    _loading.append(plugin)
    try:
        yield
    except (Exception, SystemExit) as error:
        unload(plugin)
        if isinstance(error, PluginError) and error.__cause__ is not None:
            raise  # of a plug-in that this one loads
        if isinstance(error, DnntuneError):
            raise PluginError(f"{place_of(error, plugin)}: {error}") from error
        raise PluginError(f"plug-in {plugin.name} cannot be loaded: {failure(error, plugin)}") from error
    finally:
        _loading.pop()


def _run(plugin: Plugin) -> None:
    if plugin.source is None:
        importlib.import_module(_imported_name(plugin))
        if (here := _version_here(plugin)) != plugin.version:
            raise PluginError(
                f"plug-in {plugin.name} is another one in this process ({here[:SHOWN_DIGITS]}) than where the study "
                f"was started ({plugin.version[:SHOWN_DIGITS]}). Install the same on all machines"
            )
        return
    module = types.ModuleType(_module_name(plugin))
    module.__file__ = plugin.name
    sys.modules[module.__name__] = module  # where pickled blocks find their classes
    text = plugin.source.decode("utf-8", errors="replace")
    # For tracebacks, and for pydantic, which reads the fields' descriptions there.
    linecache.cache[plugin.name] = (len(text), None, text.splitlines(keepends=True), plugin.name)
    exec(compile(plugin.source, plugin.name, "exec", dont_inherit=True), module.__dict__)


def _registered(plugin: Plugin) -> bool:
    rows = [row for group in kinds.groups() for row in kinds.kinds(group).values()]
    if plugin.origin in {*(row.origin for row in rows), *(row.origin for row in METRICS.values())}:
        return True
    prefix = _imported_name(plugin)  # imported before, by other code
    return plugin.source is None and any(f"{row.block.__module__}.".startswith(f"{prefix}.") for row in rows)


def _is_file(name: str | Path) -> bool:
    return isinstance(name, Path) or name.endswith(".py") or "/" in name


def _file(path: Path) -> Plugin:
    path = path.expanduser().absolute()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginError(
            f"plug-in {path} cannot be read: {error.strerror}. Give the path of a Python file, or a module's name"
        ) from None
    return Plugin("file", str(path), hashlib.sha256(source).hexdigest(), source)


def _module(name: str) -> Plugin:
    return Plugin("module", name, _hash_of_module(name))


def _installed(point: importlib.metadata.EntryPoint) -> Plugin:
    return Plugin("entry point", f"{point.name} = {point.module}", _version_of(point))


def _version_of(point: importlib.metadata.EntryPoint) -> str:
    return "unknown" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _imported_name(plugin: Plugin) -> str:
    return plugin.name.rpartition(" = ")[2]


def _version_here(plugin: Plugin) -> str:
    if plugin.way == "module":
        return _hash_of_module(plugin.name)
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return next((_version_of(point) for point in points if _installed(point).name == plugin.name), "not installed")


def _module_name(plugin: Plugin) -> str:
    """Returns the name of a file's module, the same in all processes."""
    return f"dnntune_plugin_{Path(plugin.name).stem}_{plugin.version[:SHOWN_DIGITS]}"


def _hash_of_module(name: str) -> str:
    """Returns the SHA-256 of a module's source, of a package's with that of all files in it."""
    spec = _spec(name)
    if spec is None or spec.origin is None:
        raise PluginError(
            f"there is no module {name}, nor a file of that name. Give a path that ends in .py, or install the package"
        )
    folders = list(spec.submodule_search_locations or ())
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py")) or [Path(spec.origin)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # a package that is not there, or no name of a module
        return None
    except Exception as error:  # the package's own
        raise PluginError(f"plug-in {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _folder(name: str) -> Path | None:
    spec = _spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
