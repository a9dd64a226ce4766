"""Proof of a whole search space: its baselines lie in it, and no draw breaks a rule."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from pipeline.config.cnn import CnnConfig
from pipeline.config.data import Digits, Table
from pipeline.config.model import BackboneConfig
from pipeline.config.rules.table import RULES, UNUSED_SETTING_RULES
from pipeline.config.schema import did_you_mean, short_repr
from pipeline.config.transfer import Frozen
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import Problem, SpaceError
from pipeline.space.tree import Parameter, SearchSpace, without_kinds
from pipeline.space.yaml_text import YamlNode

# Ten times those of any space that comes with dnntune: a proof takes seconds at most.
MAX_BOUNDARY_CONFIGS = 2_000
# Between them they have every setting that a rule of relevance is about.
_DEFAULTS = (
    TrialConfig(data=Digits()),
    TrialConfig(data=Table(path="", label="")),
    TrialConfig(data=Digits(), model=CnnConfig()),
    TrialConfig(data=Digits(), model=BackboneConfig(name="resnet18"), transfer=Frozen()),
)


def check_baselines(
    study: YamlNode, space: SearchSpace, touched: set[str], problems: list[Problem]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Checks the baselines against the space; those that an override has ruled out are left out with a notice."""
    parameters = {parameter.name: parameter for parameter in space.parameters()}
    kept, notices = [], []
    for number, node in enumerate(study.value["baselines"].value if "baselines" in study.value else [], 1):
        baseline: dict[str, Any] = {}
        errors: list[Problem] = []
        overridden = True
        for written, item in node.value.items():
            value = item.to_python()
            # Where a kind has been fixed, what hangs on it is named without it.
            name = without_kinds(written, lambda path: _fixed_value(space, path))
            if name not in parameters and _fixed_value(space, name) == value:
                continue
            if (reason := baseline_error(name, value, parameters, node.to_python())) is not None:
                errors.append(Problem(f"study.baselines.{name}", reason, item.location))
                overridden &= any(name == path or name.startswith(f"{path}.") for path in touched)
            baseline[name] = value
        if not errors:
            kept.append(baseline)
        elif overridden:
            notices.append(f"baseline {number} is left out: --set has ruled out {', '.join(p.path for p in errors)}")
        else:
            problems += errors
    return kept, tuple(notices)


def _fixed_value(space: SearchSpace, name: str) -> Any:
    value: Any = space.definition
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def baseline_error(name: str, value: Any, parameters: dict[str, Parameter], baseline: dict[str, Any]) -> str | None:
    """Returns why a baseline's value is not in a space, or None if it is.

    Args:
        name: A parameter's name.
        value: Its value.
        parameters: The space's parameters by name.
        baseline: All that the baseline says.
    """
    if name not in parameters:
        return f"a baseline names parameters of the space; this is none{did_you_mean(name, parameters)}"
    parameter = parameters[name]
    if not parameter.distribution.contains(tuple(value) if isinstance(value, list) else value):
        return f"a baseline lies in the space ({parameter.distribution}); got {short_repr(value)}"
    if parameter.condition is not None and baseline.get(parameter.condition[0]) != parameter.condition[1]:
        return f"exists only with {' = '.join(parameter.condition)}: the baseline must say so"
    return None


def _boundary_configs(space: SearchSpace, paths: tuple[str, ...], location: str) -> list[TrialConfig]:
    """Returns the corners that a rule is proven at.

    Raises:
        SpaceError: They are too many: choices of many lists or words, multiplied.
    """
    boundary_configs = list(islice(space.boundary_configs(paths), MAX_BOUNDARY_CONFIGS + 1))
    if len(boundary_configs) <= MAX_BOUNDARY_CONFIGS:
        return boundary_configs
    searched = [parameter for parameter in space.parameters() if parameter.path in paths]
    counts = ", ".join(f"{each.name} has {len(each.distribution.bounds()):,}" for each in searched)
    message = (
        f"at most {MAX_BOUNDARY_CONFIGS:,} combinations are tried to prove a rule; {counts}. Shorten these choices"
    )
    raise SpaceError([Problem(searched[0].path, message, location)])


def broken_rules_of(space: SearchSpace, locations: dict[str, str], fallback: str) -> Iterator[Problem]:
    """Tries the extremes of the settings that each rule looks at.

    Raises:
        SpaceError: There are too many combinations of them.
    """
    for rule in RULES:
        for config in _boundary_configs(space, rule.paths, fallback):
            if (message := rule.broken(config)) is not None:
                path = next((path for path in rule.paths if path in locations), rule.paths[0])
                many = "" if not space.parameters() else "the space can draw a configuration that breaks a rule: "
                yield Problem(rule.paths[0], many + message, locations.get(path, fallback))
                break
    # What states every setting is a record of a trial: it keeps what only other trials of its space have used.
    is_record = not space.parameters() and TrialConfig.model_fields.keys() <= space.definition.keys()
    for unused_rule in () if is_record else UNUSED_SETTING_RULES:
        if unused_rule.path not in locations:
            continue
        default = next((value for each in _DEFAULTS if (value := _at(each, unused_rule.path)) is not None), None)
        configs = _boundary_configs(space, (unused_rule.path, *unused_rule.depends_on), fallback)
        if any(_at(config, unused_rule.path) != default for config in configs) and not any(
            map(unused_rule.used, configs)
        ):
            message = f"has no effect here: {unused_rule.remedy}, or leave it out"
            yield Problem(unused_rule.path, message, locations[unused_rule.path])


def _at(config: TrialConfig, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return value
