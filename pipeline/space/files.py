"""Search-space files: found, read, overridden, and proven before anything runs."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.schema import did_you_mean, short_repr
from pipeline.config.study import Grid, StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import Problem, SpaceError
from pipeline.core.names import broken_rule
from pipeline.space.overrides import Override, apply_override
from pipeline.space.reader import SpaceReader
from pipeline.space.tree import Fields, SearchSpace, assemble
from pipeline.space.validation import broken_rules_of, check_baselines
from pipeline.space.yaml_text import YamlNode, dump, parse, read_text, with_location

_HERE = Path(__file__).parents[1]
# The wheel carries the folder inside the package; a checkout has it beside it.
SHIPPED_FOLDERS = (_HERE / "search_spaces", _HERE.parent / "search_spaces")


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


def load_space(source: str, overrides: Sequence[Override] = ()) -> SpaceFile:
    """Reads and proves a search-space file.

    Args:
        source: A path; a bare name, looked up in ./search_spaces and among the spaces that come with dnntune; or ``-``
            for standard input.
        overrides: Settings that replace what the file says.

    Raises:
        SpaceError: With every problem of the file, or a study cannot be called as the file is.
    """
    file = _load(source, overrides)
    if (rule := broken_rule(file.name)) is not None:
        remedy = "Rename the file, or name the study with --study NAME or in the file, study: {name: ...}"
        raise SpaceError(
            [Problem("", f"a study's name, its file's, {rule}; got {short_repr(file.name)}. {remedy}", source)]
        )
    return file


def _load(source: str, overrides: Sequence[Override]) -> SpaceFile:
    path = source if source == "-" else str(find_space(source))
    tree = parse(read_text(path), "standard input" if source == "-" else path)
    if path == source != "-":  # and not found by a bare name: that of a space which comes with dnntune
        tree = _with_data_below(tree, Path(path).parent)
    return read_space(tree, configuration_name(source), overrides)


def _with_data_below(tree: YamlNode, folder: Path) -> YamlNode:
    """Returns the tree with a relative data.path made absolute: a study can be resumed from any folder.

    Args:
        tree: A whole file's.
        folder: What the path counts from. A path that begins with ~ stays: it leads home on every machine.
    """

    def below(node: YamlNode, keys: Sequence[str]) -> YamlNode:
        if isinstance(node.value, dict) and keys and keys[0] in node.value:
            return YamlNode({**node.value, keys[0]: below(node.value[keys[0]], keys[1:])}, node.location)
        if isinstance(node.value, dict) and isinstance(getattr(node.value.get("choice"), "value", None), list):
            choices = node.value["choice"]
            absolute = YamlNode([below(each, keys) for each in choices.value], choices.location)
            return YamlNode({**node.value, "choice": absolute}, node.location)
        if not keys and isinstance(node.value, str) and not node.value.startswith("~"):
            return YamlNode(str((folder / node.value).resolve()), node.location)
        return node

    return below(tree, ("space", "data", "path"))


def read_space(tree: YamlNode, name: str, overrides: Sequence[Override] = ()) -> SpaceFile:
    """Proves a parsed file; see `load_space`."""
    if not isinstance(tree.value, dict):
        raise SpaceError(
            [Problem("", f"must have a block named space; got {short_repr(tree.to_python())}", tree.location)]
        )
    touched: set[str] = set()
    for override in overrides:
        tree = apply_override(tree, override, touched)
    tree = _with_data_below(tree, Path())
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
            problems.append(Problem(key, f"unknown: a file has study: and space:{hint}", node.location))
    if "space" not in tree.value:
        problems.append(Problem("space", "is missing: what to search, or one configuration", tree.location))
    study_node = tree.value.get("study", YamlNode({}, tree.location))
    study_fields = settings.block(study_node, StudyConfig, "study.")
    root = reader.block(
        tree.value.get("space", YamlNode({"data": with_location({"kind": "digits"}, "")}, "")), TrialConfig
    )
    problems += settings.problems + reader.problems
    if problems:
        raise SpaceError(problems)
    assert isinstance(root, Fields)
    space = SearchSpace(root, tree.value["space"].to_python())
    for path in ("data.split_seed", "data.folds"):
        if any(parameter.path == path for parameter in space.parameters()):
            rule = "the validation images must be the same in all trials of a study, or their values do not compare"
            location = reader.locations.get(path, tree.location)
            problems.append(Problem(path, f"{rule}; got a free parameter. Give it one value", location))
    baselines, notices = check_baselines(study_node, space, touched, problems)
    problems += broken_rules_of(space, reader.locations, tree.value["space"].location)
    if problems:
        raise SpaceError(problems)
    plain = assemble(study_fields, lambda parameter: None)  # a study has no parameters
    try:
        study = StudyConfig.model_validate({**plain, "baselines": baselines})
    except ValidationError as error:
        reasons = [str(each["ctx"]["error"]) for each in error.errors()]
        raise SpaceError([Problem("study", reason, study_node.location) for reason in reasons]) from None
    if isinstance(study.sampler, Grid) and (too_large := space.grid_limit(study.sampler.points)) is not None:
        node = study_node.value.get("sampler", study_node)
        raise SpaceError([Problem("study.sampler", too_large, node.location)])
    if next(space.boundary_configs([])).data.num_folds > 1 and getattr(study.pruner, "patience", None) is not None:
        node = study_node.value.get("pruner", study_node)
        rule = "patience counts epochs, and with data.folds a pruner sees a value for each fold"
        remedy = "Leave patience out, or take median; early_stopping.patience ends the training of each fold"
        raise SpaceError([Problem("study.pruner", f"{rule}; got {study.pruner.kind}. {remedy}", node.location)])
    return SpaceFile(study.name or name, study, space, notices)


def load_configuration(source: str, overrides: Sequence[Override] = ()) -> TrialConfig:
    """Reads a file with nothing left to search; see `load_space`.

    Raises:
        SpaceError: Something is left; names it.
    """
    return configuration_of(_load(source, overrides).space, source)


def configuration_of(space: SearchSpace, source: str) -> TrialConfig:
    """Returns the one configuration of a space with nothing left to search; see `load_configuration`."""
    if parameters := space.parameters():
        names = ", ".join(parameter.name for parameter in parameters)
        rule = f"a configuration has nothing left to search; this file has {len(parameters)} parameters: {names}"
        remedy = "Fix them with --set, or search them with dnntune run"
        raise SpaceError([Problem("", f"{rule}. {remedy}", source)])
    return next(space.boundary_configs([]))


def configuration_name(source: str) -> str:
    """Returns what a file is called in names: its own name without folder and ending."""
    return "stdin" if source == "-" else Path(source).stem


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
    return dump({"space": config.to_dict()})


def find_space(source: str) -> Path:
    """Finds a space file by path or bare name.

    Raises:
        SpaceError: There is none; lists the names that exist.
    """
    with contextlib.suppress(OSError):  # a name that no file can have
        if Path(source).is_file():
            return Path(source)
        if Path(source).exists():
            rule = "a space is a regular file. Give its text on standard input, and - for its name"
            raise SpaceError([Problem("", rule, source)])
    folders = (Path("search_spaces"), *SHIPPED_FOLDERS)
    for folder in folders:
        with contextlib.suppress(OSError):
            if (found := folder / f"{source}.yaml").is_file():
                return found
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    hint = did_you_mean(Path(source).stem, names) or f". Known names: {', '.join(names)}"
    raise SpaceError([Problem("", f"no such file{hint}", source)])
