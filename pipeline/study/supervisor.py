"""The supervisor: gives out a study's trials to workers, and passes on what they tell.

It runs in the process that the user started. Workers run trials; the supervisor alone counts them, so that a study
never has one too many, and alone decides that it is over.
"""

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait

import optuna

from pipeline.errors import StudyError
from pipeline.records import (
    COUNTED,
    DataSummary,
    Event,
    TrialEnded,
    TrialResult,
    TrialStarted,
    TrialWanted,
    WorkerFailed,
    WorkerReady,
)
from pipeline.study.processes import WorkerProcess, start_worker
from pipeline.study.task import Task
from pipeline.study.trials import finish, running_trial

# As many failures with the same error, one after the other, end a study: the next trial would fail likewise.
MAX_SAME_FAILURES = 3
POLL_SECONDS = 0.2


class Budget:
    """Counts trials: those that are still to be given out, and failures in a row.

    Args:
        total: Trials that the study has in all.
        counted: Trials that are used up already.
        deadline: Time (as of `time.monotonic`) after which no trial is given out; None for no limit.
    """

    def __init__(self, total: int, counted: int, deadline: float | None) -> None:
        self.left, self.deadline = total - counted, deadline
        self.running = 0
        self.same_failures = 0
        self.last_failure: str | None = None

    @property
    def used_up(self) -> bool:
        """Whether no trial will be given out any more."""
        return self.left <= 0 or self.hopeless or self.overdue

    @property
    def hopeless(self) -> bool:
        """Whether the last trials all failed with the same error."""
        return self.same_failures >= MAX_SAME_FAILURES

    @property
    def overdue(self) -> bool:
        """Whether the time is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def take(self) -> bool:
        """Takes a trial, if one is left that no worker has."""
        if self.used_up or self.running >= self.left:
            return False
        self.running += 1
        return True

    def ended(self, result: TrialResult) -> None:
        """Takes note of a trial's end."""
        self.running -= 1
        if result.outcome in COUNTED:
            self.left -= 1
        if result.outcome == "failed":
            self.same_failures = self.same_failures + 1 if result.reason == self.last_failure else 1
            self.last_failure = result.reason
        elif result.outcome != "interrupted":
            self.same_failures, self.last_failure = 0, None


class Supervisor:
    """Runs a study on worker processes.

    Args:
        tasks: One for each worker.
        budget: How many trials may run.
        begin: Called once, when the first worker has loaded its data: returns the study.
        listen: Is told everything that happens.
        tick: Called a few times a second.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        begin: Callable[[DataSummary], tuple[optuna.Study, Budget]],
        listen: Callable[[Event], None],
        tick: Callable[[], None],
    ) -> None:
        self.begin, self.listen, self.tick = begin, listen, tick
        self.study: optuna.Study | None = None
        self.budget: Budget | None = None
        self.parked: list[WorkerProcess] = []  # free, while the last trials run elsewhere and may yet fail
        self.stopping = False
        self.interrupted = False  # stopping because the user wants it
        self.workers = [start_worker(task) for task in tasks]

    def run(self) -> None:
        """Runs until the budget is used up or `stop` is called.

        Raises:
            StudyError: Workers cannot start, or trials keep failing with the same error.
        """
        while self.workers:
            self._listen_once()
        if self.budget is not None and self.budget.hopeless:
            raise StudyError(
                f"{MAX_SAME_FAILURES} trials in a row failed with the same error: {self.budget.last_failure}"
            )

    def stop(self) -> None:
        """Ends the study: trials that run give up at the end of their epoch."""
        self.stopping = True
        for worker in self.workers:
            worker.tell(False)

    def kill(self) -> None:
        """Ends all workers at once; after `run` has returned there is nothing left to do."""
        self.stopping = True
        workers, self.workers = self.workers, []
        for worker in workers:
            worker.process.kill()
            worker.process.join()
            self._bury(worker)

    def _listen_once(self) -> None:
        channels = {worker.connection: worker for worker in self.workers}
        for connection in wait(list(channels), timeout=POLL_SECONDS):
            worker = channels[connection]  # type: ignore[index]
            try:
                self._handle(worker, worker.connection.recv())
            except (EOFError, ConnectionResetError):
                worker.process.join()
                self.workers.remove(worker)
                self._bury(worker)
        if self.budget is not None and not self.stopping and (self.budget.overdue or self.budget.hopeless):
            self.stop()
        self.tick()

    def _handle(self, worker: WorkerProcess, event: Event) -> None:
        if isinstance(event, WorkerFailed):
            raise StudyError(event.message)
        if isinstance(event, WorkerReady):
            worker.ready = True
            if self.study is None and not self.stopping:
                self.study, self.budget = self.begin(event.data)
        elif isinstance(event, TrialWanted):
            self._give(worker)
            return
        elif isinstance(event, TrialStarted):
            worker.trial = event.number
        elif isinstance(event, TrialEnded):
            self.listen(event)
            self._ended(worker, event.result)
            return
        self.listen(event)

    def _give(self, worker: WorkerProcess) -> None:
        assert self.budget is not None or self.stopping
        if self.stopping or self.budget is None or self.budget.used_up:
            worker.tell(False)
        elif self.budget.take():
            worker.busy = True
            worker.tell(True)
        else:
            self.parked.append(worker)

    def _ended(self, worker: WorkerProcess, result: TrialResult) -> None:
        assert self.budget is not None
        worker.busy, worker.trial = False, None
        self.budget.ended(result)
        parked, self.parked = self.parked, []
        for free in parked:
            self._give(free)

    def _bury(self, worker: WorkerProcess) -> None:
        """Deals with a worker's end: if it came in the middle of a trial, the trial has failed, and another starts."""
        if worker.busy:
            if self.stopping:
                result = TrialResult("interrupted", reason="stopped in the middle of an epoch")
            else:
                result = TrialResult("failed", reason=worker.cause_of_death)
            if worker.trial is not None:
                assert self.study is not None
                finish(self.study, running_trial(self.study, worker.trial), None, result)
                self.listen(TrialEnded(worker.trial, result))
            self._ended(worker, result)
        if worker.process.exitcode == 0 or self.stopping:
            return
        if not worker.ready:
            raise StudyError(f"a worker cannot start: {worker.cause_of_death}")
        if self.budget is not None and not self.budget.used_up:
            self.workers.append(start_worker(worker.task))
