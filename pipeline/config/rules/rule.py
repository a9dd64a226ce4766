"""What a rule is: about several settings, provable for a whole search space."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.config.settings import TrialSettings


@dataclass(frozen=True)
class Rule:
    """Something that must hold for every configuration.

    Attributes:
        paths: Settings that the rule looks at, or blocks that hold them; the first one is blamed.
        broken: Returns the message (rule, value, remedy), or None where the rule holds.
    """

    paths: tuple[str, ...]
    broken: Callable[[TrialSettings], str | None]


@dataclass(frozen=True)
class UnusedSettingRule:
    """A setting that only some configurations use: to set it where none can is a mistake.

    Attributes:
        path: The setting.
        depends_on: What decides whether it is used.
        used: Whether a configuration uses it.
        remedy: What would make it useful.
    """

    path: str
    depends_on: tuple[str, ...]
    used: Callable[[TrialSettings], bool]
    remedy: str
