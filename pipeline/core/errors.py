"""What a person did wrong, said so that they can mend it.

Every class here is a user's mistake (or their machine's): the command line prints the message without a traceback and
exits with `DnntuneError.exit_code`. A mistake of ours is an ``assert`` or an ordinary exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.text import shortened

# What a person reads of a file's problems: the first so many, each of at most so many characters.
MAX_PROBLEMS, MAX_CHARACTERS = 50, 1_000


class DnntuneError(Exception):
    """Base of all errors whose message is meant for the user: the rule, the value and the remedy."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a search-space file."""

    path: str
    """Where in the file, as a dotted path; empty for the file itself."""
    message: str
    """The rule, the value that breaks it, and the remedy."""
    location: str
    """The file's name and line (``space.yaml:12``), or the command-line option that said it."""

    def __str__(self) -> str:
        parts = (shortened(self.location, 300), shortened(self.path, 200), shortened(self.message, MAX_CHARACTERS))
        return ": ".join(part for part in parts if part)


class SpaceError(DnntuneError):
    """A search space or configuration is wrong. Holds every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:MAX_PROBLEMS]]
        if len(self.problems) > MAX_PROBLEMS:
            lines.append(f"and {len(self.problems) - MAX_PROBLEMS:,} more problems")
        super().__init__("\n".join(lines))


class InvalidNameError(DnntuneError):
    """A study, an experiment, a registered model, a schedule or an export cannot be called so."""


class StoreUrlError(DnntuneError):
    """What should be the address of a database is none, or one of a database that cannot be used."""


class WorkspaceError(DnntuneError):
    """The workspace cannot be used: it is no folder, or cannot be written to."""


class DiskFullError(DnntuneError):
    """A file system has no space left; says which one, and how much it has."""


class DataError(DnntuneError):
    """Images or labels are missing, broken or cannot be used; the message names the file."""


class DeviceError(DnntuneError):
    """The device or precision asked for does not exist on this machine."""


class ModelError(DnntuneError):
    """A network cannot be built as asked: no such timm model, weights that do not fit, or stages that cannot be cut."""


class PluginError(DnntuneError):
    """A plug-in is missing, cannot be loaded, or does not keep to its contract."""


class StudyError(DnntuneError):
    """A study does not exist, is in use, does not fit what is asked of it, or keeps failing."""


class TrackingError(DnntuneError):
    """MLflow cannot be reached or used."""


class PortError(DnntuneError):
    """A page cannot be served on the port of this machine that was asked for."""
