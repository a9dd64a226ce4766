"""Where a training is: the loop goes on from here, and a checkpoint holds it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch

from pipeline.core.improvement import Improvement
from pipeline.optim.early_stopping import BestWeights
from pipeline.optim.optimizers import load_state
from pipeline.training.generators import GeneratorStates, generator_states, set_generator_states
from pipeline.training.phases import Phase
from pipeline.training.transfer import Plan


class TrainingState:
    """Where a training is.

    Args:
        plan: Its phases; the first one is built here.
        improvement: Watches its epochs; a phase ends early where its patience does.

    Attributes:
        phase: The present phase.
        best: The best weights so far, of all phases.
        improvement: As given.
        epoch: Epochs done.
        epoch_of_phase: Of those, the present phase's.
        num_steps: Optimizer steps done.
        has_improved: Whether the present phase has an epoch that is better than all before it.
        phase_of_best: Number of the phase with the best epoch, from 0.
    """

    def __init__(self, plan: Plan, improvement: Improvement) -> None:
        self.plan, self.improvement, self.best = plan, improvement, BestWeights()
        self.epoch = self.num_steps = self.phase_of_best = 0
        # For each phase that has ended what the plan was told, and the generators as they then were.
        self.sent: list[tuple[bool, GeneratorStates]] = []
        self._next: Callable[[], Phase] | None = None  # what builds the next phase, once the plan has been told
        self._is_plan_sent = False
        self._begin(next(plan)())

    def phases(self) -> Iterator[Phase]:
        """Yields the present phase and those after it, each with its network's best weights if it has the best ones."""
        while True:
            yield self.phase
            self.best.restore()
            self.sent.append((self.has_improved, generator_states(self._device)))
            if (build := self._next_phase()) is None:
                return
            self._begin(build())

    @property
    def has_phase_ended(self) -> bool:
        """Whether the present phase has no further epoch."""
        return self.epoch_of_phase >= self.phase.epochs or self.improvement.has_stopped

    @property
    def is_over(self) -> bool:
        """Whether the last epoch of the last phase is done. It leaves the position as it is."""
        return self.has_phase_ended and self._next_phase() is None

    def _next_phase(self) -> Callable[[], Phase] | None:
        """Returns what builds the phase after the present one, which has ended; None if that was the last."""
        if not self._is_plan_sent:
            self._is_plan_sent = True
            with suppress(StopIteration):
                self._next = self.plan.send(self.has_improved)
        return self._next

    def _begin(self, phase: Phase) -> None:
        self.phase, self.epoch_of_phase, self.has_improved = phase, 0, False
        self._next, self._is_plan_sent = None, False
        self.improvement.epochs_since = 0
        self.best.follow(phase.network)

    def end_epoch(self, *, num_steps: int, is_best: bool) -> None:
        """Counts an epoch of so many steps."""
        self.epoch += 1
        self.epoch_of_phase += 1
        self.num_steps += num_steps
        if is_best:
            self.has_improved, self.phase_of_best = True, len(self.sent)

    def state_dict(self) -> dict[str, Any]:
        """Returns all that decides how the training goes on: plain values, and tensors, which are references.

        Frozen layers are left out: building the phases again brings them back.
        """
        step, schedule = self.phase.step, self.phase.schedule
        return {
            "sent": self.sent,
            "epoch": self.epoch,
            "epoch_of_phase": self.epoch_of_phase,
            "num_steps": self.num_steps,
            "has_improved": self.has_improved,
            "phase_of_best": self.phase_of_best,
            "improvement": self.improvement.state_dict(),
            "best": self.best.state_dict(),
            "optimizer": step.optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "average": None if step.average is None else step.average.state_dict(),
            "steps_seen_by_flow": None if step.flow is None else step.flow.num_steps,
            "microbatch_size": step.microbatches.size,
            "generators": generator_states(self._device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes from the beginning to where a training of the same configuration was.

        The plan is told what it was told then. What building a network draws, it draws again.

        Args:
            state: What `state_dict` returned; it is left as it is.
        """
        network_of_best = self.phase.network
        for has_improved, generators in state["sent"]:
            set_generator_states(generators, self._device)
            self.sent.append((has_improved, generators))
            self._begin(self.plan.send(has_improved)())
            if len(self.sent) <= state["phase_of_best"]:
                network_of_best = self.phase.network
        self.epoch, self.epoch_of_phase, self.num_steps = state["epoch"], state["epoch_of_phase"], state["num_steps"]
        self.has_improved, self.phase_of_best = state["has_improved"], state["phase_of_best"]
        self.improvement.load_state_dict(state["improvement"])
        self.best.load_state_dict(state["best"], network_of_best)
        step = self.phase.step
        load_state(step.optimizer, state["optimizer"])
        self.phase.schedule.load_state_dict(state["schedule"])
        if step.average is not None:
            step.average.load_state_dict(state["average"])
        if step.flow is not None and state["steps_seen_by_flow"] is not None:
            step.flow.num_steps = state["steps_seen_by_flow"]
        step.microbatches.size = state["microbatch_size"]
        set_generator_states(state["generators"], self._device)

    @property
    def _device(self) -> torch.device:
        return self.phase.step.examples.labels.device
