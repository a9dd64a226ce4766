"""A training that repeats another one's phases, where no validation images can tell when each has learned enough."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.config.training import Constant, Piecewise, ScheduleConfig
from pipeline.data.batches import batches_per_epoch
from pipeline.optim.schedules import build_schedule
from pipeline.training.phases import Phase, PhaseBuilder
from pipeline.training.transfer import Plan, plan


@dataclass(frozen=True)
class RepeatedPhase:
    """A phase of the training that is repeated.

    Attributes:
        name: Its name.
        epochs: Epochs to train for; 0 for a phase that left nothing. Its schedule is that of the whole phase, cut off.
        has_improved: Whether it improved the best validation measure: the ladder climbed by that.
        rates: Where the schedule watched validation, the learning rate at the end of each epoch: it is gone through
            again.
    """

    name: str
    epochs: int
    has_improved: bool
    rates: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Repetition:
    """The training that is repeated: its phases up to that with the best epoch, and how many images it had."""

    phases: tuple[RepeatedPhase, ...]
    num_train: int


def repeated(builder: PhaseBuilder, repetition: Repetition) -> Plan:
    """Returns the phases of a training that repeats another one of the same configuration."""
    phases = plan(builder, num_train=repetition.num_train)
    build = next(phases)
    for number, again in enumerate(repetition.phases, 1):
        if again.epochs > 0:
            yield functools.partial(_build_again, build, again, builder)
        if number < len(repetition.phases):
            build = phases.send(again.has_improved)


def _build_again(build: Callable[[], Phase], again: RepeatedPhase, builder: PhaseBuilder) -> Phase:
    phase = build()
    assert phase.name == again.name, f"the phase was {again.name}; it is {phase.name} now"
    return replace(_with_rates(phase, again.rates, builder), epochs=again.epochs)


def _with_rates(phase: Phase, rates: Sequence[float] | None, builder: PhaseBuilder) -> Phase:
    if rates is None:
        return phase
    config = builder.config
    again = schedule_of_rates(rates, lr=phase.schedule.rates[0], warmup_epochs=config.schedule.warmup_epochs)
    steps = batches_per_epoch(len(phase.step.examples), config.batch_size)
    schedule = build_schedule(again, phase.step.optimizer, steps_per_epoch=steps, epochs=phase.epochs)
    return replace(phase, schedule=schedule)


def schedule_of_rates(rates: Sequence[float], *, lr: float, warmup_epochs: float) -> ScheduleConfig:
    """Returns a schedule that goes through the rates of a performance schedule again.

    Such a schedule changes the rate between epochs only, so that a piecewise constant one does the same.

    Args:
        rates: Learning rate at the end of each epoch.
        lr: The rate that the schedule multiplies.
        warmup_epochs: Epochs before that schedule began.
    """
    changes = [
        (epoch - warmup_epochs, rates[epoch] / lr)
        for epoch in range(1, len(rates))
        if epoch > warmup_epochs and rates[epoch] != rates[epoch - 1]
    ]
    if not changes:
        return Constant(warmup_epochs=warmup_epochs)
    boundaries, factors = zip(*changes, strict=True)
    return Piecewise(warmup_epochs=warmup_epochs, boundaries=boundaries, factors=factors)
