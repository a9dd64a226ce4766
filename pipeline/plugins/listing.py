"""What kinds there are: built-ins and those of the plug-ins that are loaded."""

from typing import NamedTuple

from pipeline.config.kinds import groups, kinds
from pipeline.config.metrics import METRICS
from pipeline.config.schema import did_you_mean, short_repr
from pipeline.core.errors import PluginError
from pipeline.plugins.loading import METRIC


class ListedKind(NamedTuple):
    """A kind as a person or program reads it; the description is one line, or empty."""

    group: str
    name: str
    description: str
    origin: str


def list_kinds(group: str | None = None) -> list[ListedKind]:
    """Returns the kinds of a group, or of all groups, built-ins first.

    Raises:
        PluginError: There is no such group.

    Example:
        >>> [kind.name for kind in list_kinds("optimizer")][:2]
        ['sgd', 'rmsprop']
    """
    known = (*groups(), METRIC)
    if group is not None and group not in known:
        raise PluginError(
            f"there is no group {short_repr(group)}{did_you_mean(group, known)}. Groups: {', '.join(known)}"
        )
    return [
        ListedKind(each, name, row.description, row.origin)
        for each in (known if group is None else (group,))
        for name, row in (METRICS if each == METRIC else kinds(each)).items()
    ]
