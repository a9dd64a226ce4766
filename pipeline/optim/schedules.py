"""Learning-rate schedules: laws from the number of optimizer steps taken to a multiplier of the configured rate.

They set the rate of every parameter group at every step themselves. PyTorch's schedulers are other laws under the same
names in part (PolynomialLR is not power scheduling), and some break when a parameter group is added.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pipeline.config import training as configs
from pipeline.config.kinds import built
from pipeline.config.metrics import direction
from pipeline.core.improvement import Improvement

LrLambda = Callable[[int], float]

# Where 1cycle's rate rises for at least so many steps, its peak may lie between two of them and is missed by at most a
# hundredth; where it rises for fewer, the peak is moved to the nearest step.
RISE_THAT_MAY_MISS = 50


def constant(_step: int) -> float:
    """Learning-rate multiplier 1."""
    return 1.0


def power(step: int, *, steps: float, power: float = 1.0) -> float:
    """Learning-rate multiplier of power scheduling, eq. (1): ``(1 + t/s)^-c``.

    Args:
        step: Optimizer steps taken so far, ``t``.
        steps: Steps until the rate has halved (for ``power=1``), ``s``; positive.
        power: Exponent ``c``.
    """
    return math.pow(1.0 + step / steps, -power)


def exponential(step: int, *, steps: float) -> float:
    """Learning-rate multiplier of exponential scheduling, eq. (3): ``0.1^(t/s)``.

    Args:
        step: Optimizer steps taken so far, ``t``.
        steps: Steps in which the rate falls to a tenth, ``s``; positive.
    """
    return math.pow(0.1, step / steps)


def piecewise(step: int, *, boundaries: Sequence[float], factors: Sequence[float]) -> float:
    """Learning-rate multiplier that changes at boundaries.

    Args:
        step: Optimizer steps taken so far.
        boundaries: Steps from which each factor holds, ascending.
        factors: One for each boundary; before the first it is 1.
    """
    passed = bisect_right(boundaries, step)
    return factors[passed - 1] if passed else 1.0


def cosine(step: int, *, total_steps: int, final_factor: float = 0.0) -> float:
    """Learning-rate multiplier of cosine annealing without restarts: Loshchilov and Hutter, ICLR 2017, eq. (5).

    Args:
        step: Optimizer steps taken so far.
        total_steps: Steps of the whole training; the first has the full rate, the last of two or more the final one.
        final_factor: The last multiplier.
    """
    share = min(step / max(total_steps - 1, 1), 1.0)
    return final_factor + (1.0 - final_factor) * 0.5 * (1.0 + math.cos(math.pi * share))


def one_cycle(step: int, *, total_steps: int, rise_fraction: float, div: float, final_div: float) -> float:
    """Learning-rate multiplier of 1cycle scheduling: Smith, 2018, linear, in three phases.

    However short the training, one step has the peak, 1, and the last of two or more has the final rate: of two steps
    the first has the peak, of three the second. See `RISE_THAT_MAY_MISS` for long ones.

    Args:
        step: Optimizer steps taken so far.
        total_steps: Steps of the whole training.
        rise_fraction: Share of the steps in which the rate rises, and again in which it falls.
        div: The first multiplier is ``1/div``.
        final_div: The last multiplier is the first one divided by this.
    """
    last = max(total_steps - 1, 1)
    share = min(step / last, 1.0)
    low, final = 1.0 / div, 1.0 / (div * final_div)
    if last == 1:
        return 1.0 if step == 0 else final
    if rise_fraction * last < RISE_THAT_MAY_MISS:
        rise_fraction = max(round(rise_fraction * last), 1) / last
    if share < rise_fraction:
        return low + (1.0 - low) * share / rise_fraction
    if share < 2.0 * rise_fraction:
        return 1.0 - (1.0 - low) * (share - rise_fraction) / rise_fraction
    rest = 1.0 - 2.0 * rise_fraction
    if rest == 0.0:  # of three or five steps, say, the last one alone is left
        return final
    return low - (low - final) * (share - 2.0 * rise_fraction) / rest


class Performance:
    """Learning-rate multiplier that falls whenever a validation measure has stopped improving.

    Args:
        maximize: Whether a larger measure is better.
        factor: What the multiplier is multiplied with.
        patience: Epochs without improvement after which it falls: at the end of the ``patience``-th.
        min_delta: An improvement is a change by more than this.
        cooldown: Epochs after a fall that do not count.
        min_factor: The smallest multiplier.
    """

    def __init__(
        self, *, maximize: bool, factor: float, patience: int, min_delta: float, cooldown: int, min_factor: float
    ) -> None:
        self.factor, self.cooldown, self.min_factor = factor, cooldown, min_factor
        self.improvement = Improvement(maximize=maximize, min_delta=min_delta, patience=patience)
        self.cooling = 0
        self.multiplier = 1.0

    def __call__(self, _step: int) -> float:
        return self.multiplier

    def observe(self, value: float, *, counts: bool = True) -> None:
        """Takes the measure at the end of an epoch, and whether the epoch counts where it is no improvement."""
        self.improvement.improved(value, counts=counts and self.cooling == 0)
        self.cooling = max(self.cooling - 1, 0)
        if self.improvement.has_stopped:
            self.multiplier = max(self.multiplier * self.factor, self.min_factor)
            self.cooling = self.cooldown
            self.improvement.epochs_since = 0

    def state_dict(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint."""
        return {"multiplier": self.multiplier, "cooling": self.cooling, "improvement": self.improvement.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.multiplier, self.cooling = state["multiplier"], state["cooling"]
        self.improvement.load_state_dict(state["improvement"])


def warmed_up(step: int, *, lr_lambda: LrLambda, warmup_steps: int) -> float:
    """Learning-rate multiplier that first rises linearly from ``1/warmup_steps`` to the start of another law.

    Args:
        step: Optimizer steps taken so far.
        lr_lambda: The law that follows; it counts its steps from the end of the warm-up.
        warmup_steps: Length of the warm-up.
    """
    if step < warmup_steps:
        return lr_lambda(0) * (step + 1) / warmup_steps
    return lr_lambda(step - warmup_steps)


class Schedule:
    """Sets the learning rate of an optimizer's parameter groups.

    Args:
        optimizer: Its groups' rates are the ones that the law multiplies.
        lr_lambda: From steps taken to a multiplier.
        performance: The law itself, if it watches a measure, and the measure's name.
        warmup_steps: Steps before the law begins: an epoch that has one of them does not count.
        steps_per_epoch: Steps in an epoch.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        lr_lambda: LrLambda,
        performance: tuple[Performance, str] | None = None,
        warmup_steps: int = 0,
        steps_per_epoch: int = 1,
    ) -> None:
        self.optimizer, self.lr_lambda, self.performance = optimizer, lr_lambda, performance
        self.warmup_steps, self.steps_per_epoch, self.steps_taken = warmup_steps, steps_per_epoch, 0
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]

    def set_rates(self, step: int) -> float:
        """Sets every group's rate for the step after ``step`` ones; returns the first group's."""
        multiplier = self.lr_lambda(step)
        self.steps_taken = step + 1
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * multiplier
        return self.rates[0] * multiplier

    def end_epoch(self, measures: dict[str, float]) -> None:
        """Shows the epoch's validation measures to a law that watches one."""
        if self.performance is not None:
            lr_lambda, monitor = self.performance
            lr_lambda.observe(measures[monitor], counts=self.steps_taken - self.steps_per_epoch >= self.warmup_steps)

    def state_dict(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint: of a law that watches a measure. Others follow from the step."""
        return {} if self.performance is None else self.performance[0].state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        if self.performance is not None:
            self.performance[0].load_state_dict(state)


@dataclass(frozen=True)
class Lengths:
    """Optimizer steps in an epoch, and in the whole training after its warm-up."""

    epoch: int
    total: int


# From a kind of the configuration to its law: a new schedule is a class there, a function here, and a row.
SCHEDULES: dict[str, Callable[[Any, Lengths], LrLambda]] = {
    "constant": lambda c, steps: constant,
    "power": lambda c, steps: partial(power, steps=c.step_epochs * steps.epoch, power=c.power),
    "exponential": lambda c, steps: partial(exponential, steps=c.step_epochs * steps.epoch),
    "performance": lambda c, steps: Performance(
        maximize=direction(c.monitor) == "maximize",
        factor=c.factor,
        patience=c.patience,
        min_delta=c.min_delta,
        cooldown=c.cooldown,
        min_factor=c.min_factor,
    ),
    "piecewise": lambda c, steps: partial(
        piecewise, boundaries=[epoch * steps.epoch for epoch in c.boundaries], factors=c.factors
    ),
    "cosine": lambda c, steps: partial(cosine, total_steps=steps.total, final_factor=c.final_factor),
    "one_cycle": lambda c, steps: partial(
        one_cycle, total_steps=steps.total, rise_fraction=c.rise_fraction, div=c.div, final_div=c.final_div
    ),
}


def build_schedule(
    config: configs.ScheduleConfig, optimizer: torch.optim.Optimizer, *, steps_per_epoch: int, epochs: int
) -> Schedule:
    """Builds the schedule that a configuration describes, its lengths turned from epochs into steps.

    Args:
        config: Its description.
        optimizer: What it drives.
        steps_per_epoch: Optimizer steps in an epoch.
        epochs: Epochs of the whole training.
    """
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    total_steps = max(epochs * steps_per_epoch - warmup_steps, 1)
    lr_lambda: LrLambda = built(config, Lengths(steps_per_epoch, total_steps), returns=Callable)
    performance = None
    if isinstance(config, configs.Performance):
        assert isinstance(lr_lambda, Performance)
        performance = (lr_lambda, config.monitor)
    if warmup_steps:
        lr_lambda = partial(warmed_up, lr_lambda=lr_lambda, warmup_steps=warmup_steps)
    return Schedule(optimizer, lr_lambda, performance, warmup_steps, steps_per_epoch)
