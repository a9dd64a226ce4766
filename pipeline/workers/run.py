"""`run_study`: a study from its space to its last trial."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute, Launch
from pipeline.core.filesystem.folders import use_workspace
from pipeline.core.processes.interrupts import AGAIN, first_stops
from pipeline.core.workspace import Workspace
from pipeline.records.events import Event
from pipeline.records.results import DataSummary, Outcome
from pipeline.setup.preflight import BoundaryConfigs, check_device_name, check_ready
from pipeline.space.tree import SearchSpace
from pipeline.storage.open import quiet_optuna
from pipeline.storage.study_lock import hold_study_lock
from pipeline.study.cases import Cases
from pipeline.study.studies import ConfigSource, open_study, stored_definition
from pipeline.study.summary import StudySummary
from pipeline.workers.launchers.launcher import Launcher
from pipeline.workers.launchers.local import LocalLauncher
from pipeline.workers.session import Session, StudyObserver
from pipeline.workers.supervisor import Supervisor

# Python's own default is ten times this.
TURN_SECONDS = 0.0005
STOPPING = f"stopping after this epoch; {AGAIN}"
LOGGING = f"logging the last trials; {AGAIN}"


class _NoObserver:
    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None: ...

    def event(self, event: Event) -> None: ...

    def tick(self) -> None: ...


def run_study(
    space: ConfigSource,
    settings: StudyConfig,
    *,
    name: str,
    workspace: Workspace | None = None,
    compute: Compute = Compute(),
    observer: StudyObserver | None = None,
    joins: bool = False,
) -> StudySummary:
    """Runs, resumes or joins a study until it has all its trials. Several processes may run one study at once.

    Ctrl-C (or SIGTERM) stops it at the end of the epoch; the next call resumes the running trials from there. A second
    signal stops it at once.

    Args:
        space: A space to search, cases to compare, or a function from a trial to a configuration, for what a space
            cannot express. Workers import the function: define it in a module, and not in the script that calls this.
        settings: How to search.
        name: The study's name.
        workspace: Where it is kept.
        compute: What it runs on.
        observer: Is told what happens.
        joins: Whether the study exists, and is to be taken as it is; see `join_study`.

    Raises:
        WorkspaceError: The workspace cannot be written to.
        DeviceError: The device, its precision or the memory does not suffice; seen before workers start.
        DataError: Your own data are not where the space says.
        ModelError: timm knows no such architecture.
        StudyError: The study searches another space, its workers cannot start, or its trials keep failing.
        TrackingError: MLflow cannot be used.
        KeyboardInterrupt: After the second Ctrl-C; the next call completes the log in MLflow.
    """
    quiet_optuna()
    check_device_name(compute.device)
    workspace, launcher = workspace or Workspace(), launcher_of(compute)
    use_workspace(workspace.root)
    with hold_study_lock(workspace.lock(name)) as study_lock, closing(launcher):
        session = Session(
            space, settings, name, workspace, observer or _NoObserver(), is_alone=study_lock.is_alone, joins=joins
        )
        study_lock.share()
        if session.num_left() == 0:
            session.catch_up()
            return session.summary()
        tasks = session.tasks(compute)
        if isinstance(launcher, LocalLauncher):
            check_ready(_boundary_configs(space, tasks[0].example), compute.device)
        supervisor = Supervisor(
            tasks,
            launcher,
            begin=session.begin,
            heartbeat=session.heartbeat,
            listen=session.event,
            tick=session.tick,
        )
        outcome: Outcome | None = "failed"
        try:
            with first_stops(supervisor.interrupt, STOPPING), _threads_take_short_turns():
                launcher.prepare(tasks[0])
                session.open_log()
                supervisor.run()
            outcome = "complete" if session.num_left() == 0 else "interrupted"
        except KeyboardInterrupt:
            outcome = None  # nothing is waited for: the next run ends what is open in MLflow
            raise
        finally:
            try:  # either writes to the storage, which may be what failed
                supervisor.kill()
                if outcome is not None:
                    with first_stops(supervisor.interrupt, LOGGING):
                        session.end(outcome)
            finally:
                session.end_log()
        session.interrupted = supervisor.interrupted
        return session.summary()


def launcher_of(compute: Compute) -> Launcher:
    """Returns what starts workers.

    Raises:
        StudyError: Ray is asked for, and not installed.
    """
    if compute.launcher == Launch.LOCAL:
        return LocalLauncher()
    from pipeline.workers.launchers.ray_launcher import RayLauncher

    return RayLauncher(compute.ray_address, workers=compute.workers)


def _boundary_configs(space: ConfigSource, example: TrialConfig) -> BoundaryConfigs:
    """Returns what a study may draw: of a function, what it has drawn."""
    match space:
        case SearchSpace():
            return space.boundary_configs
        case Cases():
            return lambda paths: space.configs.values()
        case _:
            return lambda paths: (example,)


def join_study(
    name: str,
    *,
    workspace: Workspace,
    compute: Compute = Compute(),
    observer: StudyObserver | None = None,
) -> StudySummary:
    """Runs trials of an existing study, with the space and settings in its storage; see `run_study`.

    Raises:
        StudyError: There is none, or a Python function draws its configurations; and as for `run_study`.
        TrackingError: MLflow cannot be used.
    """
    space, settings = stored_definition(open_study(workspace, name, computes=True))
    return run_study(
        space,
        settings,
        name=name,
        workspace=workspace,
        compute=compute,
        observer=observer,
        joins=True,
    )


@contextmanager
def _threads_take_short_turns() -> Iterator[None]:
    """Lets the thread that answers workers interrupt the one that logs: each event would else wait out its turn."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
