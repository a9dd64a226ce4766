"""Search-space files: found, read, overridden, and proven before anything runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.config import DataConfig, TrialConfig
from pipeline.errors import Problem, SpaceError
from pipeline.rules import RELEVANCES, RULES
from pipeline.schema import did_you_mean, shown
from pipeline.space import Fields, Parameter, SearchSpace, assemble, without_kinds
from pipeline.space_reader import SpaceReader
from pipeline.study_config import StudyConfig
from pipeline.yaml_text import Located, dump, locate, parse, read_text

_HERE = Path(__file__).parent
# The wheel carries the folder inside the package; a checkout has it beside it.
SHIPPED_FOLDERS = (_HERE / "search_spaces", _HERE.parent / "search_spaces")
_DEFAULTS = TrialConfig(data=DataConfig(name="digits"))


@dataclass(frozen=True)
class SpaceFile:
    """A search space and the study that it asks for.

    Attributes:
        name: The study's name: as the file says, or the file's own.
        study: How to search.
        space: What to search.
        notices: What the reader did that a person should know.
    """

    name: str
    study: StudyConfig
    space: SearchSpace
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Override:
    """A setting that replaces what a file says.

    Attributes:
        path: Where it goes: in the space, or in the study after ``study.``.
        text: The value in YAML.
        origin: The option that said it, for messages.
    """

    path: str
    text: str
    origin: str

    @classmethod
    def parse(cls, option: str) -> Self:
        """Reads ``path=value``.

        Raises:
            SpaceError: It is not of that form.
        """
        path, equals, text = option.partition("=")
        if not equals or not all(path.split(".")):
            raise SpaceError([Problem("", "must be path=value, such as optimizer.lr=0.01", f"--set {option}")])
        return cls(path, text, f"--set {option}")


def load_space(source: str, overrides: Sequence[Override] = ()) -> SpaceFile:
    """Reads and proves a search-space file.

    Args:
        source: A path; a bare name, looked up in ./search_spaces and among the spaces that come with dnntune; or ``-``
            for standard input.
        overrides: Settings that replace what the file says.

    Raises:
        SpaceError: With every problem of the file.
    """
    path = source if source == "-" else str(find_space(source))
    name = "stdin" if source == "-" else Path(path).stem
    return read_space(parse(read_text(path), "standard input" if source == "-" else path), name, overrides)


def read_space(tree: Located, name: str, overrides: Sequence[Override] = ()) -> SpaceFile:
    """Proves a parsed file; see `load_space`."""
    if not isinstance(tree.value, dict):
        raise SpaceError([Problem("", f"must have a block named space; got {shown(tree.plain())}", tree.origin)])
    touched: set[str] = set()
    for override in overrides:
        tree = _override(tree, override, touched)
    settings = SpaceReader(StudyConfig, searchable=False)
    reader = SpaceReader(TrialConfig, searchable=True)
    problems: list[Problem] = []
    for key, node in tree.value.items():
        if key not in ("study", "space"):
            hint = (
                ". It belongs under space:"
                if key in TrialConfig.model_fields
                else did_you_mean(key, ("study", "space"))
            )
            problems.append(Problem(key, f"unknown: a file has study: and space:{hint}", node.origin))
    if "space" not in tree.value:
        problems.append(Problem("space", "is missing: what to search, or one configuration", tree.origin))
    study_node = tree.value.get("study", Located({}, tree.origin))
    study_fields = settings.block(study_node, StudyConfig, "study.")
    root = reader.block(tree.value.get("space", Located({"data": locate({"name": "digits"}, "")}, "")), TrialConfig)
    problems += settings.problems + reader.problems
    if problems:
        raise SpaceError(problems)
    assert isinstance(root, Fields)
    space = SearchSpace(root, tree.value["space"].plain())
    baselines, notices = _baselines(study_node, space, touched, problems)
    problems += _broken_rules(space, reader.origins, tree.value["space"].origin)
    if problems:
        raise SpaceError(problems)
    plain = assemble(study_fields, lambda parameter: None)  # a study has no parameters
    study = StudyConfig.model_validate({**plain, "baselines": baselines})
    return SpaceFile(study.name or name, study, space, notices)


def load_configuration(source: str, overrides: Sequence[Override] = ()) -> TrialConfig:
    """Reads a file with nothing left to search; see `load_space`.

    Raises:
        SpaceError: Something is left; names it.
    """
    space = load_space(source, overrides).space
    if parameters := space.parameters():
        names = ", ".join(parameter.name for parameter in parameters)
        rule = f"a configuration has nothing left to search; this file has {len(parameters)} parameters: {names}"
        remedy = "Fix them with --set, or search them with dnntune run"
        raise SpaceError([Problem("", f"{rule}. {remedy}", source)])
    return next(space.corners([]))


def sample_configurations(space: SearchSpace, count: int, seed: int) -> Iterator[str]:
    """Draws configurations at random, as YAML."""
    if count == 0:
        return
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        yield configuration_text(space.sample(study.ask()))


def configuration_text(config: TrialConfig) -> str:
    """Writes a configuration as a space file with nothing left to search."""
    return dump({"space": config.plain()})


def find_space(source: str) -> Path:
    """Finds a space file by path or bare name.

    Raises:
        SpaceError: There is none; lists the names that exist.
    """
    if Path(source).is_file():
        return Path(source)
    folders = (Path("search_spaces"), *SHIPPED_FOLDERS)
    for folder in folders:
        if (found := folder / f"{source}.yaml").is_file():
            return found
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    hint = did_you_mean(Path(source).stem, names) or f". Known names: {', '.join(names)}"
    raise SpaceError([Problem("", f"no such file{hint}", source)])


def _override(tree: Located, override: Override, touched: set[str]) -> Located:
    """Returns the tree with one override put in place; notes the path."""
    value = parse(override.text, override.origin, lines=False)
    names = override.path.split(".")
    if names[0] not in ("study", "space"):
        names.insert(0, "space")
    touched.add(".".join(names[1:]))
    return _put(tree, names, value, override.origin)


def _put(node: Located, names: list[str], value: Located, origin: str) -> Located:
    if not names:
        return value
    head, *rest = names
    inner = dict(node.value) if isinstance(node.value, dict) else {}
    choice = inner.get("choice")
    if choice is not None and isinstance(choice.value, list):
        kinds = [_kind_of(option) for option in choice.value]
        if head == "kind" and not rest and value.plain() in kinds:  # keeps that block alone
            return choice.value[kinds.index(value.plain())]  # type: ignore[no-any-return]
        if head in kinds:
            options = [
                _put(
                    option if isinstance(option.value, dict) else Located({"kind": option}, origin), rest, value, origin
                )
                if kind == head
                else option
                for kind, option in zip(kinds, choice.value, strict=True)
            ]
            return Located({**inner, "choice": Located(options, choice.origin)}, node.origin)
        if all(isinstance(option.value, dict | str) for option in choice.value):
            message = (
                f"it is a choice here: set .kind, or name the kind before .{head}; kinds: {', '.join(map(str, kinds))}"
            )
            raise SpaceError([Problem(head, message, origin)])
    if isinstance(node.value, str):  # a bare word stands for the block of that kind
        inner = {"kind": node}
    inner[head] = _put(inner.get(head, Located({}, origin)), rest, value, origin)
    return Located(inner, node.origin)


def _kind_of(option: Located) -> Any:
    if isinstance(option.value, dict):
        return option.value["kind"].plain() if "kind" in option.value else None
    return option.plain()


def _baselines(
    study: Located, space: SearchSpace, touched: set[str], problems: list[Problem]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Checks the baselines against the space; those that an override has ruled out are left out with a notice."""
    parameters = {parameter.name: parameter for parameter in space.parameters()}
    kept, notices = [], []
    for number, node in enumerate(study.value["baselines"].value if "baselines" in study.value else [], 1):
        baseline: dict[str, Any] = {}
        misfits: list[Problem] = []
        overridden = True
        for written, item in node.value.items():
            value = item.plain()
            # Where a kind has been fixed, what hangs on it is named without it.
            name = without_kinds(written, lambda path: _fixed_value(space, path))
            if name not in parameters and _fixed_value(space, name) == value:
                continue
            if (reason := _misfit(name, value, parameters, node.plain())) is not None:
                misfits.append(Problem(f"study.baselines.{name}", reason, item.origin))
                overridden &= any(name == path or name.startswith(f"{path}.") for path in touched)
            baseline[name] = value
        if not misfits:
            kept.append(baseline)
        elif overridden:
            notices.append(f"baseline {number} is left out: --set has ruled out {', '.join(p.path for p in misfits)}")
        else:
            problems += misfits
    return kept, tuple(notices)


def _fixed_value(space: SearchSpace, name: str) -> Any:
    value: Any = space.source
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _misfit(name: str, value: Any, parameters: dict[str, Parameter], baseline: dict[str, Any]) -> str | None:
    if name not in parameters:
        return f"a baseline names parameters of the space; this is none{did_you_mean(name, parameters)}"
    parameter = parameters[name]
    if not parameter.distribution.contains(tuple(value) if isinstance(value, list) else value):
        return f"a baseline lies in the space ({parameter.distribution}); got {shown(value)}"
    if parameter.condition is not None and baseline.get(parameter.condition[0]) != parameter.condition[1]:
        return f"exists only with {' = '.join(parameter.condition)}: the baseline must say so"
    return None


def _broken_rules(space: SearchSpace, origins: dict[str, str], fallback: str) -> Iterator[Problem]:
    """Tries the extremes of the settings that each rule looks at."""
    for rule in RULES:
        for config in space.corners(rule.paths):
            if (message := rule.broken(config)) is not None:
                path = next((path for path in rule.paths if path in origins), rule.paths[0])
                many = "" if not space.parameters() else "the space can draw a configuration that breaks a rule: "
                yield Problem(rule.paths[0], many + message, origins.get(path, fallback))
                break
    for relevance in RELEVANCES:
        if relevance.path not in origins:
            continue
        default = _at(_DEFAULTS, relevance.path)
        configs = list(space.corners((relevance.path, *relevance.depends_on)))
        if any(_at(config, relevance.path) != default for config in configs) and not any(map(relevance.used, configs)):
            message = f"has no effect here: {relevance.remedy}, or leave it out"
            yield Problem(relevance.path, message, origins[relevance.path])


def _at(config: TrialConfig, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return value
