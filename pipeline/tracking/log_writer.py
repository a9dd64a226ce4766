"""Writes a study into MLflow: what its storage says of trials that have ended, and what those that run tell."""

import importlib.metadata
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import optuna

from pipeline import __version__
from pipeline.core.errors import StudyError
from pipeline.core.workspace import Workspace
from pipeline.records.events import EpochEnded, Event, TrialEnded, TrialStarted
from pipeline.records.folds import by_fold, fold_result
from pipeline.records.results import EpochResult, curves_of
from pipeline.storage.lease import Lease
from pipeline.storage.open import RecentTrials, open_existing
from pipeline.study.attributes import DATA, METRICS, MLFLOW_RUNS
from pipeline.study.studies import load_study
from pipeline.tracking.axes import axes_of
from pipeline.tracking.expected_run import TrialRecord, details_of, fold_points, points_of
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.retry import is_transient
from pipeline.tracking.store import Opened, identity, open_store
from pipeline.tracking.study_records import space_of, study_record, trial_records

if TYPE_CHECKING:
    from pipeline.config.metrics import Monitor

# How often the curves of trials that run are sent.
FLUSH_SECONDS = 5.0
VERSIONED = ("torch", "optuna", "mlflow")


class LogWriter:
    """Writes one study.

    Args:
        workspace: Where the study and its log are kept.
        study: The study's name.
        opened: The workspace's tracking store and experiment.
        alive: Whether other processes may run the study: what its storage calls running may run.
        holder: The name by which this process holds the lease; None for a new one.
        seize: Whether whoever else has the lease is dead.

    Attributes:
        error: What MLflow said of the last trial that it refused; None if it has refused none.

    Raises:
        StudyError: There is no such study, or it has not begun.
        TrackingError: MLflow cannot be used.
    """

    def __init__(
        self,
        workspace: Workspace,
        study: str,
        opened: Opened,
        *,
        alive: bool,
        holder: str | None = None,
        seize: bool = False,
    ) -> None:
        self.alive = alive
        self.storage = RecentTrials(open_existing(workspace))
        self.study = load_study(self.storage, study)
        self.space = space_of(self.study)
        client, experiment = opened
        self.store = identity(client, experiment)
        self.lease = Lease(self.study, self.store, holder)
        if seize:
            self.lease.seize()
        if (data := self.study.user_attrs.get(DATA)) is None:
            raise StudyError(f"study {study} has not begun yet: there is nothing to log. dnntune run begins it")
        tags = {"study": study, "dataset": data["name"], "device": data["device"], **_versions()}
        self.mirror = Mirror(client, experiment, study, tags=tags, axes=axes_of(self.space))
        self.error: Exception | None = None
        self.num_left = 0
        self._has_looked = False
        self._refused: set[int] = set()  # trials whose values MLflow does not take
        self._live: dict[int, list[EpochResult]] = {}  # of trials that run here: the epochs that were not sent
        self._flushed = time.monotonic()

    def begin(self) -> None:
        """Finds or makes the study's run, and looks at those of its trials, if no other process does."""
        if not self.lease.hold():
            self._has_looked = False  # another process may write meanwhile
            return
        if self._has_looked:
            return
        record = study_record(self.study, self.space, alive=self.alive)
        known = self._known_run()
        parent = self.mirror.adopt(known, record.started)
        if known != parent:
            self.study.set_user_attr(MLFLOW_RUNS, {**self.study.user_attrs.get(MLFLOW_RUNS, {}), self.store: parent})
        self.mirror.look()
        self.mirror.trust(self.records())
        self._has_looked = True

    def records(self) -> list[TrialRecord]:
        """Returns all trials as the storage has them."""
        return trial_records(self.study, alive=self.alive)

    def disagreements(self) -> dict[int, list[str]]:
        """Looks at all runs, and returns what they lack or say otherwise than the storage; see `Mirror`."""
        self.begin()
        self.mirror.look()
        return self.mirror.disagreements(self.records())

    def write(self, *, until: float = float("inf")) -> int:
        """Writes the trials that have ended and are not written, if no other process does.

        Args:
            until: By the monotonic clock: no trial is begun after this.

        Returns:
            How many were written.
        """
        self.storage.forget()
        self.begin()
        if not self.lease.hold():
            return 0
        left = self._left()
        if left:
            self.mirror.look_at_open()
            left = self._left()
        self.num_left = len(left)
        num_written = 0
        for record in left:
            if time.monotonic() > until or not self.lease.hold():
                break
            try:
                self.mirror.write(record)
            except Exception as error:
                if is_transient(error):
                    raise
                self.error = error  # of this trial alone: told at the end
                self._refused.add(record.number)
            else:
                num_written += 1
                self.num_left -= 1
        return num_written

    def count_left(self) -> None:
        """Counts, where another process writes, what it has not written yet."""
        self.storage.forget()
        ended = [record for record in self.records() if record.result is not None]
        if (parent := self._known_run()) is None:
            self.num_left = len(ended)
            return
        self.mirror.parent = parent
        self.mirror.look()
        self.num_left = len(self.mirror.disagreements(ended))

    def write_study(self) -> bool:
        """Writes the study's own run, if it says something else than the storage; returns whether it did."""
        if not self.lease.hold():
            return False
        record = study_record(self.study, self.space, alive=self.alive)
        if differs := self.mirror.study_differs(record):
            self.mirror.write_study(record)
        return differs

    def draw_best(self) -> None:
        """Draws the best trial's gradient flow, when the study has ended and has none yet."""
        record = study_record(self.study, self.space, alive=self.alive)
        if record.best is not None and record.outcome is not None:
            self.mirror.draw_best(record.best)

    def begin_study(self) -> None:
        """Opens the study's run."""
        if self.lease.hold():
            self.mirror.begin_study(study_record(self.study, self.space, alive=True))

    def hear(self, event: Event) -> None:
        """Takes note of what happens to a trial that runs here for long enough to be watched."""
        if isinstance(event, TrialStarted):
            if not self.mirror.parent:
                if (parent := self._known_run()) is None:
                    return
                self.mirror.parent = parent
            record = TrialRecord(
                event.number, event.params, event.config, event.started, retry=event.retry, retry_of=event.retry_of
            )
            self.mirror.begin_live(record)
            self._live[event.number] = []
        elif isinstance(event, EpochEnded) and event.number in self._live:
            self._live[event.number].append(event.result)
        elif isinstance(event, TrialEnded) and event.number in self._live:
            self.flush(event.number)
            del self._live[event.number]
            if event.result.outcome == "interrupted":
                self.storage.forget()
                for record in self.records():
                    if record.number == event.number:
                        self.mirror.end_live(record)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            for number in self._live:
                self.flush(number)
            self._flushed = time.monotonic()

    def stop_hearing(self) -> None:
        """Sends what was told and not yet sent; how the trials ended, the storage knows."""
        for number in self._live:
            self.flush(number)
        self._live.clear()

    def flush(self, number: int) -> None:
        """Sends the epochs of a trial that runs here, with the times and digits that the storage will have.

        Of one with folds the folds that are done: how far its mean curves go is known at its end.
        """
        epochs = self._live[number]
        if not epochs:
            return
        if epochs[0].fold:
            *done, going_on = by_fold(epochs)
            metric: Monitor = self.study.user_attrs[METRICS][0]
            folds = [fold_result(fold, metric) for fold in done]
            self.mirror.log_live(number, fold_points(folds, done[0][0].fold) if done else [], epoch=0)
            self._live[number] = going_on
            return
        points = points_of(curves_of([replace(epoch, epoch=index) for index, epoch in enumerate(epochs, start=1)]))
        points = [point._replace(step=epochs[point.step - 1].epoch) for point in points]
        points += [point for epoch in epochs for point in details_of(epoch)]
        self.mirror.log_live(number, points, epoch=epochs[-1].epoch)
        epochs.clear()

    def _known_run(self) -> str | None:
        """Returns the id of the study's run in this store, if its storage knows one."""
        run: str | None = self.study.user_attrs.get(MLFLOW_RUNS, {}).get(self.store)
        return run

    def _left(self) -> list[TrialRecord]:
        return [
            record
            for record in self.records()
            if not self.mirror.is_written(record) and record.number not in self._refused | self._live.keys()
        ]


def study_run(study: optuna.Study, workspace: Workspace) -> str | None:
    """Returns the id of the study's run in its tracking store, if it has one there.

    Raises:
        TrackingError: The store cannot be used.
    """
    client = open_store(workspace)
    experiment = client.get_experiment_by_name(workspace.experiment)
    if experiment is None:
        return None
    runs: dict[str, str] = study.user_attrs.get(MLFLOW_RUNS, {})
    return runs.get(identity(client, experiment.experiment_id))


def _versions() -> dict[str, str]:
    """Returns tags for the versions of the packages and the commit of the checkout that this is run in."""
    tags = {f"version.{name}": importlib.metadata.version(name) for name in VERSIONED}
    tags["version.dnntune"] = __version__
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode == 0:
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    return tags
