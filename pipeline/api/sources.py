"""Spaces, configurations and places as a program gives them: files, plain values, objects."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.config.trial import TrialConfig
from pipeline.core.errors import Problem, SpaceError
from pipeline.core.names import check_name
from pipeline.core.workspace import STORAGE_VARIABLES, TRACKING_VARIABLES, Workspace, store_url
from pipeline.plugins.loading import load_plugins, plugins_of_environment
from pipeline.space.files import SpaceFile, configuration_of, load_configuration, load_space, read_space
from pipeline.space.overrides import Override
from pipeline.space.yaml_text import YamlNode, with_location
from pipeline.study.studies import with_options

# A file (or the name of one that comes with dnntune), or the same in plain values; what `check` returns.
Space = str | os.PathLike[str] | Mapping[str, Any] | SpaceFile
Config = str | os.PathLike[str] | Mapping[str, Any] | TrialConfig
Settings = Mapping[str, Any]
Plugins = Sequence[str | os.PathLike[str]]


def read(space: Space, *, name: str | None, overrides: Settings | None, **settings: Any) -> SpaceFile:
    """Reads and proves a space.

    Args:
        space: The space.
        name: What the study is called; None for what the space says.
        overrides: Settings that replace the space's, by path.
        settings: Of the study, likewise; None leaves one as it is.

    Raises:
        SpaceError: With every problem.
        InvalidNameError: A study cannot be called so.
    """
    given = {path: value for path, value in settings.items() if value is not None}
    if name is not None:
        check_name(name, "a study")
    if isinstance(space, SpaceFile):
        if overrides:
            raise _problem("overrides", "a space that has been checked is complete. Override what check is given")
        return SpaceFile(name or space.name, with_options(space.study, **given), space.space, space.notices)
    named = given if name is None else {**given, "name": name}
    replacing = [*_overrides(overrides), *(_override(f"study.{path}", path, value) for path, value in named.items())]
    if isinstance(space, Mapping):
        file = read_space(_tree(space), "", replacing)
        if not file.name:
            raise _problem("name", "a study needs a name, and plain values have none: say name=NAME")
        return file
    if isinstance(space, str | os.PathLike):
        return load_space(os.fspath(space), replacing)
    raise _problem("space", f"a space is a file, a dict, or what dnntune.check returns; got {type(space).__name__}")


def read_configuration(config: Config, overrides: Settings | None) -> TrialConfig:
    """Reads a configuration: a space with nothing left to search.

    Raises:
        SpaceError: With every problem; or something is left to search.
    """
    if isinstance(config, TrialConfig):
        config = config.to_dict()
    if isinstance(config, Mapping):
        return configuration_of(read_space(_tree(config), "", _overrides(overrides)).space, "config")
    if isinstance(config, str | os.PathLike):
        return load_configuration(os.fspath(config), _overrides(overrides))
    raise _problem("config", f"a configuration is a file or a dict; got {type(config).__name__}")


def use_plugins(plugins: Plugins) -> None:
    """Loads plug-ins, and those that the environment names, as the command line does.

    Raises:
        PluginError: One cannot be used; says where.
    """
    load_plugins([*plugins_of_environment(), *(os.fspath(each) for each in plugins)])


def workspace_of(workspace: str | os.PathLike[str] | Workspace) -> Workspace:
    """Returns where things are kept; of a folder alone, the stores are those that the environment names, if any."""
    if isinstance(workspace, Workspace):
        return workspace
    storage, tracking = store_url(None, STORAGE_VARIABLES), store_url(None, TRACKING_VARIABLES)
    return Workspace(Path(workspace), storage, tracking)


def _problem(name: str, message: str) -> SpaceError:
    return SpaceError([Problem("", message, name)])


def _overrides(overrides: Settings | None) -> list[Override]:
    return [_override(path, path, value) for path, value in (overrides or {}).items()]


def _override(path: str, said: str, value: Any) -> Override:
    plain = _plain(value, said)
    return replace(Override.parse(f"{path}={json.dumps(plain)}"), location=f"{said}={plain!r}")


def _tree(space: Mapping[str, Any]) -> YamlNode:
    """Returns plain values as a file is read; those of a configuration alone stand for a file's ``space:``."""
    plain = _plain(space, "dict")
    if not plain.keys() & {"study", "space"}:
        plain = {"space": plain}
    return with_location(plain, "dict")


def _plain(value: Any, path: str) -> Any:
    """Returns a value as YAML would have it: distributions of Optuna's in words, numbers of NumPy's as Python's.

    Raises:
        SpaceError: It is none that a file could have.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy's
        value = value.item()
    match value:
        case None | bool() | int() | float() | str():
            return value
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            if wrong := [key for key in value if not isinstance(key, str)]:
                raise _problem(path, f"a name must be a word; got {wrong[0]!r}")
            return {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, path) for item in value]
        case IntDistribution() | FloatDistribution():
            kind = "int" if isinstance(value, IntDistribution) else "float"
            more = {"log": True} if value.log else {} if value.step is None else {"step": value.step}
            return {kind: [value.low, value.high], **more}
        case CategoricalDistribution():
            return {"choice": [_plain(choice, path) for choice in value.choices]}
    raise _problem(path, f"must be a number, a text, a list, a dict or a distribution; got {type(value).__name__}")
