"""Schedule files: read, with every mistake at its line, and turned into what a run needs."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.schema import short_repr
from pipeline.core.compute import Compute
from pipeline.core.errors import PluginError, Problem, SpaceError
from pipeline.core.names import broken_plain_rule
from pipeline.core.workspace import STORAGE_VARIABLES, TRACKING_VARIABLES, Workspace, store_url
from pipeline.plugins.loading import load_plugins
from pipeline.scheduling.config import Schedule
from pipeline.space.files import SpaceFile, load_space
from pipeline.space.overrides import Override
from pipeline.space.reader import SpaceReader
from pipeline.space.tree import assemble
from pipeline.space.yaml_text import parse, read_text


@dataclass(frozen=True)
class ScheduleFile:
    """A schedule and its name, which is the file's.

    Attributes:
        name: The name.
        folder: Where the file lies: paths in it count from there.
        schedule: The settings.
    """

    name: str
    folder: Path
    schedule: Schedule

    @property
    def workspace(self) -> Workspace:
        """Where its studies are kept."""
        schedule = self.schedule
        storage = store_url(schedule.storage, STORAGE_VARIABLES)
        tracking = store_url(schedule.tracking_uri, TRACKING_VARIABLES)
        return Workspace(Path(schedule.workspace), storage, tracking, schedule.experiment, schedule.data_dir)

    @property
    def compute(self) -> Compute:
        """What its studies run on."""
        schedule = self.schedule
        return Compute(schedule.workers, schedule.threads, schedule.device)

    def space(self) -> SpaceFile:
        """Reads and proves the search space, with the schedule's settings in place.

        Raises:
            SpaceError: With every problem of it.
        """
        schedule = self.schedule
        beside = self.folder / schedule.space
        overrides = [Override.parse(setting) for setting in schedule.set]
        for name in ("trials", "timeout"):
            if (value := getattr(schedule, name)) is not None:
                overrides.append(Override(f"study.{name}", str(value), f"{self.name}: {name}"))
        file = load_space(str(beside) if beside.is_file() else schedule.space, overrides)
        if (folds := next(file.space.boundary_configs([])).data.num_folds) > 1:
            rule = "a schedule finalizes its studies, and a trial in folds leaves no single model"
            problem = f"{rule}; got folds {folds}. Leave folds out of its space (set: [data.folds=1])"
            raise SpaceError([Problem("data.folds", problem, f"{self.name}: space {schedule.space}")])
        return file


def load_schedule(path: Path, overrides: list[str] | None = None) -> ScheduleFile:
    """Reads and proves a schedule file, and loads its plug-ins.

    Args:
        path: The file.
        overrides: Settings in place of the file's, each as ``name=value``, the value in YAML.

    Raises:
        SpaceError: With every problem of the file.
    """
    tree = parse(read_text(str(path)), str(path))
    if not isinstance(tree.value, dict):
        raise SpaceError(
            [Problem("", f"a schedule is a mapping of settings; got {short_repr(tree.to_python())}", tree.location)]
        )
    fields = dict(tree.value)
    for option in overrides or []:
        override = Override.parse(option)
        fields[override.path] = parse(override.text, override.location, lines=False)
    reader = SpaceReader(Schedule, searchable=False)
    node = reader.block(type(tree)(fields, tree.location), Schedule)
    name = path.stem
    if (rule := broken_plain_rule(name)) is not None:
        reader.problems.append(Problem("", f"a schedule's name, its file's, {rule}. Rename the file", str(path)))
    if reader.problems:
        raise SpaceError(reader.problems)
    try:
        schedule = Schedule.model_validate(assemble(node, lambda parameter: None))
    except ValidationError as error:
        reasons = [str(each["ctx"]["error"]) for each in error.errors()]
        raise SpaceError([Problem("", reason, tree.location) for reason in reasons]) from None
    try:
        load_plugins([str(beside) if (beside := path.parent / each).is_file() else each for each in schedule.plugins])
    except PluginError as error:
        location = fields["plugins"].location if "plugins" in fields else tree.location
        raise SpaceError([Problem("plugins", str(error), location)]) from None
    return ScheduleFile(name, path.parent, schedule)
