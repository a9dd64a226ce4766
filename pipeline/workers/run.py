"""`run_study`: a study from its space to its last trial."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pipeline.config.study import StudyConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute, Launch
from pipeline.core.folders import use_workspace
from pipeline.core.processes.interrupts import AGAIN, first_stops
from pipeline.core.workspace import Places
from pipeline.records.events import Event
from pipeline.records.results import DataSummary, Outcome
from pipeline.setup.readiness import Draws, prove_device_name, prove_ready
from pipeline.space.tree import SearchSpace
from pipeline.storage.open import quiet_optuna
from pipeline.storage.study_lock import present
from pipeline.study.cases import Cases
from pipeline.study.studies import Searched, carried, open_study
from pipeline.study.summary import StudySummary
from pipeline.workers.launchers.launcher import Launcher
from pipeline.workers.launchers.local import LocalLauncher
from pipeline.workers.session import Session, Watcher
from pipeline.workers.supervisor import Supervisor

# Python's own default is ten times this.
TURN_SECONDS = 0.0005
STOPPING = f"stopping after this epoch; {AGAIN}"
LOGGING = f"the last trials are being logged; {AGAIN}"


class _NobodyWatches:
    def begin(self, study: str, *, total: int, counted: int, direction: str, data: DataSummary) -> None: ...

    def event(self, event: Event) -> None: ...

    def tick(self) -> None: ...


def run_study(
    space: Searched,
    settings: StudyConfig,
    *,
    name: str,
    places: Places | None = None,
    compute: Compute = Compute(),
    watcher: Watcher | None = None,
    joins: bool = False,
) -> StudySummary:
    """Runs a study, or goes on with it, until it has its trials. Several processes may run one study at once.

    Ctrl-C (or SIGTERM) ends it at the next epoch with the trials so far; those that ran are resumed from there by the
    next call. A second one ends it at once.

    Args:
        space: What to search; or cases to compare; or a function from a trial to a configuration, for what a space
            cannot say. Workers import it: it must stand in a module, and a script that calls this needs
            ``if __name__ == "__main__"``.
        settings: How to search.
        name: The study's name.
        places: Where it is kept.
        compute: What it runs on.
        watcher: Is told what happens.
        joins: Whether the study exists, and is to be taken as it is; see `join_study`.

    Raises:
        WorkspaceError: The workspace cannot be written to.
        DeviceError: The device, its precision or the memory does not suffice; seen before workers start.
        DataError: Your own data are not where the space says.
        ModelError: timm knows no such architecture.
        StudyError: The study searches another space, its workers cannot start, or its trials keep failing.
        TrackingError: MLflow cannot be used.
        KeyboardInterrupt: After the second Ctrl-C; what MLflow lacks is made up for by the next call.
    """
    quiet_optuna()
    prove_device_name(compute.device)
    places, launcher = places or Places(), launcher_of(compute)
    use_workspace(places.workspace)
    with present(places.lock(name)) as presence, closing(launcher):
        session = Session(
            space, settings, name, places, watcher or _NobodyWatches(), is_alone=presence.is_alone, joins=joins
        )
        presence.share()
        if session.num_left() == 0:
            session.catch_up()
            return session.summary()
        tasks = session.tasks(compute)
        if isinstance(launcher, LocalLauncher):
            prove_ready(_draws(space, tasks[0].example), compute.device)
        supervisor = Supervisor(
            tasks,
            launcher,
            begin=session.begin,
            heart=session.heart,
            listen=session.event,
            tick=session.watcher.tick,
        )
        outcome: Outcome | None = "failed"
        try:
            with first_stops(supervisor.interrupt, STOPPING), _threads_take_short_turns():
                launcher.prepare(tasks[0])
                session.open_log()  # while the workers' imports go on
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


def _draws(space: Searched, example: TrialConfig) -> Draws:
    """Returns what a study may draw: of a function, what it has drawn."""
    match space:
        case SearchSpace():
            return space.corners
        case Cases():
            return lambda paths: space.configs.values()
        case _:
            return lambda paths: (example,)


def join_study(
    name: str,
    *,
    places: Places,
    compute: Compute = Compute(),
    watcher: Watcher | None = None,
) -> StudySummary:
    """Runs trials of a study that exists, as its storage says; see `run_study`.

    Raises:
        StudyError: There is none, or a Python function draws its configurations; and as for `run_study`.
        TrackingError: MLflow cannot be used.
    """
    space, settings = carried(open_study(places, name))
    return run_study(
        space,
        settings,
        name=name,
        places=places,
        compute=compute,
        watcher=watcher,
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
