"""The supervisor: lets workers claim a study's trials, passes on what they tell, and deals with their deaths.

It runs in the process that the user started. Workers claim and run trials; of several supervisors of one study, on
this machine or another, each looks after its own workers, and after trials that nobody looks after any more.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait

import optuna

from pipeline.core.errors import StudyError
from pipeline.records.events import (
    Event,
    NothingToClaim,
    TrialClaimed,
    TrialEnded,
    TrialRequested,
    WorkerFailed,
    WorkerOverLimit,
    WorkerReady,
)
from pipeline.records.results import DataSummary, TrialResult
from pipeline.study.trials import finish, frozen_trial, has_retry, result_of, running_trial
from pipeline.workers.budget import MAX_SAME_FAILURES, Budget
from pipeline.workers.heartbeats import Heartbeat
from pipeline.workers.launchers.launcher import Launcher
from pipeline.workers.launchers.local import Worker, start_worker
from pipeline.workers.task import Task

POLL_SECONDS = 0.2
# As many workers that die before they have loaded their data, one after the other, end a study.
MAX_FAILED_STARTS = 3
# After which a worker that found nothing to claim looks again: a trial elsewhere may have failed.
IDLE_SECONDS = 1.0


class Supervisor:
    """Runs a study on workers.

    Args:
        tasks: One for each worker.
        launcher: Starts them.
        begin: Called once, when the first worker has loaded its data: returns the study and what ends it.
        heartbeat: Sends the heartbeats of running trials.
        listen: Is told everything that happens.
        tick: Called a few times a second.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        launcher: Launcher,
        begin: Callable[[DataSummary], tuple[optuna.Study, Budget]],
        heartbeat: Heartbeat,
        listen: Callable[[Event], None],
        tick: Callable[[], None],
    ) -> None:
        self.launcher, self.begin, self.heartbeat, self.listen, self.tick = launcher, begin, heartbeat, listen, tick
        self.study: optuna.Study | None = None
        self.budget: Budget | None = None
        self.idle: list[Worker] = []  # free, while the last trials run elsewhere and may yet fail
        self.idle_until = 0.0
        self.failed_starts = 0
        self.stopping = False
        self.interrupted = False  # the user wants it to stop
        self.tasks = tasks
        self.workers: list[Worker] = []

    def run(self) -> None:
        """Starts the workers, and runs until the study is complete or somebody stops it.

        Raises:
            StudyError: Workers cannot start, or trials keep failing with the same error.
        """
        for task in self.tasks:
            if not self.interrupted:
                self.workers.append(start_worker(task, self.launcher))
        while self.workers:
            self._listen_once()
        if self.budget is not None and self.budget.hopeless:
            raise StudyError(
                f"{MAX_SAME_FAILURES} trials in a row failed with the same error: {self.budget.last_failure}"
            )

    def interrupt(self) -> None:
        """Ends the study soon, because the user wants it: a signal's handler may call this."""
        self.interrupted = True

    def _stop(self) -> None:
        """Ends the study: trials that run give up at the end of their epoch."""
        self.stopping = True
        for worker in self.workers:
            worker.reply(False)
            if not worker.ready:  # it has nothing to lose, and may yet load data for minutes
                worker.process.kill()

    def kill(self) -> None:
        """Ends all workers at once; after `run` has returned there is nothing left to do."""
        self.stopping = True
        workers, self.workers = self.workers, []
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            self._reap(worker)

    def _listen_once(self) -> None:
        if self.interrupted and not self.stopping:
            self._stop()
        channels = {worker.connection: worker for worker in self.workers}
        for connection in wait(list(channels), timeout=POLL_SECONDS):
            worker = channels[connection]  # type: ignore[index]
            try:
                self._handle(worker, worker.connection.recv())
            except (EOFError, OSError):  # the latter if it was killed in the middle of a message
                self.workers.remove(worker)
                self._reap(worker)
        if self.study is not None:
            for expired in self.heartbeat.send(self.study, {w.trial for w in self.workers if w.trial is not None}):
                self.listen(expired)
        if self.budget is not None and not self.stopping and (self.budget.overdue or self.budget.hopeless):
            self._stop()
        if self.idle and time.monotonic() >= self.idle_until:
            self._wake_idle()
        self.tick()

    def _handle(self, worker: Worker, event: Event) -> None:
        match event:
            case WorkerFailed():
                raise StudyError(event.message)
            case WorkerReady():
                worker.ready, self.failed_starts = True, 0
                if self.study is None and not self.stopping:
                    self.study, self.budget = self.begin(event.data)
                self.listen(event)
            case TrialRequested():
                if worker not in self.idle:
                    self._answer(worker)
            case NothingToClaim():
                self._nothing_left(worker, event.complete)
            case TrialClaimed():
                worker.trial = event.number
                self.listen(event)
            case WorkerOverLimit():
                worker.over_limit = event
            case TrialEnded():
                self.listen(event)
                self._ended(worker, event.result)
            case _:
                self.listen(event)

    def _answer(self, worker: Worker) -> None:
        worker.reply(not (self.stopping or self.budget is None or self.budget.used_up))

    def _nothing_left(self, worker: Worker, is_complete: bool) -> None:
        """Lets a worker wait that found nothing to claim: its next wish is answered later."""
        assert self.budget is not None
        self.budget.is_complete |= is_complete
        self.idle.append(worker)
        self.idle_until = time.monotonic() + IDLE_SECONDS
        if is_complete:
            self._wake_idle()
            for waiting in self.workers:
                if not waiting.ready:  # on a cluster, it may have waited for a free place
                    waiting.reply(False)

    def _wake_idle(self) -> None:
        idle, self.idle = self.idle, []
        for worker in idle:
            self._answer(worker)

    def _ended(self, worker: Worker, result: TrialResult) -> None:
        assert self.budget is not None
        worker.trial = None
        self.budget.ended(result)
        self._wake_idle()

    def _reap(self, worker: Worker) -> None:
        """Deals with a worker's end: if it came in the middle of a trial, that has failed, and is tried again."""
        cause = worker.process.join()
        if worker in self.idle:
            self.idle.remove(worker)
        if worker.trial is not None:
            self._end_trial(worker, worker.trial, cause)
        if cause is None or self.stopping:
            return
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts >= MAX_FAILED_STARTS:
                raise StudyError(f"workers cannot start: {MAX_FAILED_STARTS} in a row, and the last one {cause}")
        if self.budget is None or not self.budget.used_up:
            self.workers.append(start_worker(worker.task, self.launcher))

    def _end_trial(self, worker: Worker, number: int, cause: str | None) -> None:
        assert self.study is not None
        retries, is_retried = 0, False
        if worker.over_limit is not None:
            result = TrialResult(worker.over_limit.outcome, reason=worker.over_limit.reason)
        elif self.stopping:
            result = TrialResult("interrupted", reason="stopped in the middle of an epoch")
        else:
            retries = worker.task.study.retries
            is_retried = has_retry(frozen_trial(self.study, number), retries)
            result = TrialResult("failed", reason=f"its worker {cause}{'; it will be retried' if is_retried else ''}")
        if not finish(self.study, running_trial(self.study, number), None, result, retries=retries):
            # It had ended, and its worker died before it could say so.
            result, is_retried = result_of(frozen_trial(self.study, number)) or result, False
        self.listen(TrialEnded(number, result))
        # A trial that is tried again says nothing yet about the next ones.
        self._ended(worker, dataclasses.replace(result, outcome="interrupted") if is_retried else result)
