"""Options that several commands have: declared once, by the function that makes one value of them."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class Group:
    """Options that a command gets as one value; it stands in the annotation of the command's parameter.

    Attributes:
        make: Makes the value. Its parameters are the options, annotated as a command's.
        names: Those that the command has, in the order of its help; the others keep their defaults.
    """

    make: Callable[..., object]
    names: tuple[str, ...]

    def options(self) -> list[inspect.Parameter]:
        """Returns the options as parameters of a command."""
        declared = inspect.signature(self.make).parameters
        return [declared[name] for name in self.names]


def group(make: Callable[..., object], *names: str) -> Group:
    """Returns the group of some parameters of a function; of all of them if none is named."""
    return Group(make, names or tuple(inspect.signature(make).parameters))


PluginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE|MODULE",
        help="Load a plug-in: a Python file or module that adds kinds; also $DNNTUNE_PLUGINS. Repeatable.",
    ),
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of its groups, where their parameters stand, and hands on what they make.

    Each also has `--plugin`: whatever reads a space, a configuration or a study may meet kinds that plug-ins add.
    """
    groups: dict[str, Group] = {}
    options: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        metadata = getattr(parameter.annotation, "__metadata__", ())
        found = next((data for data in metadata if isinstance(data, Group)), None)
        if found is not None:
            groups[name] = found
        options += [parameter] if found is None else found.options()

    @functools.wraps(command)
    def expanded(*, plugins: list[str] | None = None, **given: object) -> None:
        from pipeline.plugins.loading import load_plugins, plugins_of_environment

        load_plugins([*plugins_of_environment(), *(plugins or ())])
        made = {
            name: found.make(**{option: given.pop(option) for option in found.names}) for name, found in groups.items()
        }
        command(**given, **made)

    options.append(inspect.Parameter("plugins", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=PluginOption))
    signature = inspect.Signature([option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options])
    # typer reads both
    vars(expanded)["__signature__"] = signature
    expanded.__annotations__ = {option.name: option.annotation for option in options}
    return expanded
