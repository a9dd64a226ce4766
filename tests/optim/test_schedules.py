"""Learning-rate schedules: each law's numbers, and how epochs become steps."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import training as configs
from pipeline.config.metrics import Monitor
from pipeline.config.schema import kinds_of
from pipeline.config.training import ScheduleConfig
from pipeline.optim.schedules import (
    SCHEDULES,
    Performance,
    Schedule,
    build_schedule,
    cosine,
    exponential,
    one_cycle,
    piecewise,
    power,
)

KINDS = tuple(kinds_of(ScheduleConfig).values())
STEPS_PER_EPOCH = 10


def _optimizer(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates])


def _schedule(config: ScheduleConfig, *, epochs: int = 20) -> Schedule:
    return build_schedule(config, _optimizer(1.0), steps_per_epoch=STEPS_PER_EPOCH, epochs=epochs)


def test_each_kind_has_a_row() -> None:
    assert {kind.model_fields["kind"].default for kind in KINDS} == set(SCHEDULES)


def _rates(config: ScheduleConfig, *, epochs: int = 20) -> list[float]:
    schedule = _schedule(config, epochs=epochs)
    return [schedule.set_rates(step) for step in range(epochs * STEPS_PER_EPOCH)]


@pytest.mark.parametrize("c", [1.0, 2.0])
def test_power_at_multiples_of_s(c: float) -> None:
    """Eq. (1): eta0 / (k + 1)^c at t = ks; eq. (2): their ratios are 1/2, 2/3, 3/4, 4/5 for c = 1."""
    rates = [power(k * 7, steps=7.0, power=c) for k in range(5)]
    assert rates == pytest.approx([1.0, 1 / 2**c, 1 / 3**c, 1 / 4**c, 1 / 5**c])
    ratios = [later / earlier for earlier, later in itertools.pairwise(rates)]
    assert ratios == pytest.approx([(1 / 2) ** c, (2 / 3) ** c, (3 / 4) ** c, (4 / 5) ** c])


def test_exponential_falls_to_a_tenth_every_s() -> None:
    """Eq. (3), and eq. (4) as it must read: 0.1^(k+1) / 0.1^k = 0.1."""
    assert [exponential(k * 7, steps=7.0) for k in range(4)] == pytest.approx([1.0, 0.1, 0.01, 0.001])
    assert exponential(1, steps=2.0) == pytest.approx(0.1**0.5)


def test_piecewise_changes_at_its_boundaries() -> None:
    rates = [piecewise(step, boundaries=[3.0, 4.5], factors=[0.5, 2.0]) for step in range(7)]
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 2.0, 2.0]


def test_cosine_is_pytorchs_and_ends_at_its_last_factor() -> None:
    rates = _rates(configs.Cosine(final_factor=0.2))
    assert (rates[0], rates[-1]) == pytest.approx((1.0, 0.2))
    optimizer = _optimizer(1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=len(rates) - 1, eta_min=0.2)
    for rate in rates:
        assert rate == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_one_cycle_has_three_straight_phases() -> None:
    rates = [one_cycle(step, total_steps=101, rise_fraction=0.45, div=10.0, final_div=500.0) for step in range(101)]
    assert [rates[step] for step in (0, 45, 90, 100)] == pytest.approx([1 / 10, 1.0, 1 / 10, 1 / 5000])
    assert np.diff(rates[:46]) == pytest.approx(0.9 / 45)
    assert np.diff(rates[45:91]) == pytest.approx(-0.9 / 45)
    assert np.diff(rates[90:]) == pytest.approx(-(0.1 - 0.0002) / 10)


def test_one_cycle_spans_the_whole_training() -> None:
    config = configs.OneCycle(rise_fraction=0.3, div=4.0, final_div=50.0)
    rates = _rates(config, epochs=10)
    assert (rates[0], rates[-1]) == pytest.approx((1 / 4, 1 / 200))
    assert rates.index(max(rates)) == 30


CYCLE = {"div": 10.0, "final_div": 1000.0}
SHORT = [*range(1, 60), 99, 200]


@pytest.mark.parametrize("rise_fraction", [0.001, 0.1, 0.3, 0.45, 0.499])
def test_one_cycle_reaches_its_peak_once_and_its_end_however_short(rise_fraction: float) -> None:
    for total_steps in SHORT:
        settings = {"total_steps": total_steps, "rise_fraction": rise_fraction, **CYCLE}
        rates = [one_cycle(step, **settings) for step in range(total_steps)]
        peak = rates.index(max(rates))
        if rise_fraction * (total_steps - 1) < 50:
            assert rates.count(1.0) == 1
            assert rates[peak] == 1.0
            assert abs(peak - rise_fraction * (total_steps - 1)) <= 0.5 or peak == 1
        assert rates[0] == pytest.approx(0.1 if total_steps > 2 else 1.0)
        assert rates[-1] == pytest.approx(1e-4 if total_steps > 1 else 1.0)
        assert rates[: peak + 1] == sorted(rates[: peak + 1])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize(
    ("total_steps", "expected"),
    [
        (1, [1.0]),
        (2, [1.0, 1e-4]),
        (3, [0.1, 1.0, 1e-4]),
        (4, [0.1, 1.0, 0.1, 1e-4]),
        (5, [0.1, 0.55, 1.0, 0.55, 1e-4]),
        (6, [0.1, 0.55, 1.0, 0.55, 0.1, 1e-4]),
    ],
)
def test_one_cycle_of_a_few_steps(total_steps: int, expected: list[float]) -> None:
    schedule = build_schedule(configs.OneCycle(), _optimizer(1.0), steps_per_epoch=1, epochs=total_steps)
    assert [schedule.set_rates(step) for step in range(total_steps)] == pytest.approx(expected)


@pytest.mark.parametrize(("total_steps", "rise_fraction"), [(113, 0.45), (1876, 0.45), (9380, 0.3), (601, 0.1)])
def test_one_cycle_of_many_steps_is_the_law_itself(total_steps: int, rise_fraction: float) -> None:
    low, final = 1.0 / 10.0, 1.0 / (10.0 * 1000.0)
    for step in range(total_steps):
        share = step / (total_steps - 1)
        if share < rise_fraction:
            expected = low + (1.0 - low) * share / rise_fraction
        elif share < 2.0 * rise_fraction:
            expected = 1.0 - (1.0 - low) * (share - rise_fraction) / rise_fraction
        else:
            expected = low - (low - final) * (share - 2.0 * rise_fraction) / (1.0 - 2.0 * rise_fraction)
        assert one_cycle(step, total_steps=total_steps, rise_fraction=rise_fraction, **CYCLE) == expected
    peak = round(rise_fraction * (total_steps - 1))
    assert one_cycle(peak, total_steps=total_steps, rise_fraction=rise_fraction, **CYCLE) >= 0.99


@pytest.mark.parametrize("final_factor", [0.0, 0.2])
def test_cosine_reaches_its_peak_once_and_its_end_however_short(final_factor: float) -> None:
    for total_steps in SHORT:
        rates = [cosine(step, total_steps=total_steps, final_factor=final_factor) for step in range(total_steps)]
        assert rates[0] == pytest.approx(1.0)
        assert rates.count(max(rates)) == 1
        assert rates[-1] == pytest.approx(final_factor if total_steps > 1 else 1.0)
        assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("warmup_epochs", [0.0, 0.4, 1.0, 2.5, 100.0])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_rate_in_the_shortest_trainings(
    kind: type[configs.ScheduleBlock], total_steps: int, warmup_epochs: float
) -> None:
    """Also where the warm-up is longer, which the rules refuse."""
    for steps_per_epoch in {1, total_steps}:
        schedule = build_schedule(
            kind.model_validate({"warmup_epochs": warmup_epochs}),
            _optimizer(1.0),
            steps_per_epoch=steps_per_epoch,
            epochs=total_steps // steps_per_epoch,
        )
        rates = [schedule.set_rates(step) for step in range(total_steps)]
        assert 0.0 < rates[0] <= 1.0
        assert all(0.0 <= rate <= 1.0 for rate in rates)
        warming = rates[: round(warmup_epochs * steps_per_epoch)]
        assert warming == pytest.approx([rates[0] * (step + 1) for step in range(len(warming))])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (configs.Power(step_epochs=0.5), {0: 1.0, 5: 1 / 2, 10: 1 / 3, 15: 1 / 4}),
        (configs.Power(step_epochs=2.0, power=2.0), {20: 1 / 4, 40: 1 / 9}),
        (configs.Exponential(step_epochs=1.5), {15: 0.1, 30: 0.01}),
        (configs.Piecewise(boundaries=(1.5, 3.0), factors=(0.1, 0.3)), {14: 1.0, 15: 0.1, 29: 0.1, 30: 0.3, 199: 0.3}),
        (configs.Constant(), {0: 1.0, 199: 1.0}),
        (configs.Constant(warmup_epochs=0.5), {0: 0.2, 1: 0.4, 4: 1.0, 5: 1.0}),
        (configs.Power(warmup_epochs=1.5, step_epochs=1.0), {14: 1.0, 15: 1.0, 25: 1 / 2, 35: 1 / 3}),
    ],
)
def test_epochs_and_their_fractions_become_steps(config: ScheduleConfig, expected: dict[int, float]) -> None:
    rates = _rates(config)
    assert {step: rates[step] for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs(kind: type[configs.ScheduleBlock]) -> None:
    schedule = _schedule(kind.model_validate({}))
    rates = []
    for epoch in range(20):
        for step in range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH):
            rates.append(schedule.set_rates(step))
            assert schedule.optimizer.param_groups[0]["lr"] == rates[-1]
        schedule.end_epoch({"valid_loss": 1.0, "valid_accuracy": 0.5})
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert 0.0 <= rates[-1] < max(rates) or kind is configs.Constant


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_warms_up_and_then_starts(kind: type[configs.ScheduleBlock]) -> None:
    cold, warm = (
        _rates(kind.model_validate(settings), epochs=epochs)
        for settings, epochs in (({}, 20), ({"warmup_epochs": 2.0}, 22))
    )
    assert warm[:20] == pytest.approx([cold[0] * (step + 1) / 20 for step in range(20)])
    assert warm[20:] == pytest.approx(cold)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_keep_the_ratio_of_their_rates(kind: type[configs.ScheduleBlock]) -> None:
    optimizer = _optimizer(0.4, 0.1)
    schedule = build_schedule(kind.model_validate({}), optimizer, steps_per_epoch=STEPS_PER_EPOCH, epochs=20)
    for step in (0, 3, 77, 150, 7):
        first, second = (schedule.set_rates(step), optimizer.param_groups[1]["lr"])
        assert first == optimizer.param_groups[0]["lr"]
        assert second == pytest.approx(first / 4)


def _performance(**settings: Any) -> Performance:
    defaults = {"maximize": False, "factor": 0.5, "patience": 2, "min_delta": 0.0, "cooldown": 0, "min_factor": 0.0}
    return Performance(**{**defaults, **settings})


def _multipliers(lr_lambda: Performance, measures: list[float]) -> list[float]:
    multipliers = []
    for measure in measures:
        lr_lambda.observe(measure)
        multipliers.append(lr_lambda(0))
    return multipliers


@pytest.mark.parametrize(
    ("settings", "measures", "expected"),
    [
        ({}, [5, 5, 5, 5, 5], [1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1}, [5, 5, 6], [1, 0.5, 0.25]),
        ({}, [5, 6, 4, 6, 6], [1, 1, 1, 1, 0.5]),
        ({}, [5, 4, 3, 2, 1], [1, 1, 1, 1, 1]),
        ({"min_delta": 1.0}, [5, 4.5, 4], [1, 1, 0.5]),
        ({"min_delta": 1.0}, [5, 4.5, 3.9], [1, 1, 1]),
        ({"patience": 1, "cooldown": 2}, [5, 5, 5, 5, 5], [1, 0.5, 0.5, 0.5, 0.25]),
        ({"patience": 1, "min_factor": 0.3}, [5, 5, 5, 5], [1, 0.5, 0.3, 0.3]),
        ({"maximize": True}, [0.1, 0.2, 0.3, 0.3, 0.3], [1, 1, 1, 1, 0.5]),
        ({"maximize": True}, [0.3, 0.2, 0.1], [1, 1, 0.5]),
    ],
)
def test_performance(settings: dict[str, Any], measures: list[float], expected: list[float]) -> None:
    """It falls at the end of the epoch that is the `patience`-th without improvement, as in Keras."""
    assert _multipliers(_performance(**settings), measures) == pytest.approx(expected)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(("patience", "cooldown"), [(1, 0), (2, 1), (3, 2)])
def test_performance_is_pytorchs_with_a_patience_of_one_less(maximize: bool, patience: int, cooldown: int) -> None:
    measures = np.random.default_rng(patience).normal(size=80).tolist()
    ours = _performance(
        maximize=maximize, factor=0.8, patience=patience, min_delta=0.1, cooldown=cooldown, min_factor=0.01
    )
    optimizer = _optimizer(1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max" if maximize else "min",
        factor=0.8,
        patience=patience - 1,
        threshold=0.1,
        threshold_mode="abs",
        cooldown=cooldown,
        min_lr=0.01,
    )
    expected = []
    for measure in measures:
        theirs.step(measure)
        expected.append(optimizer.param_groups[0]["lr"])
    assert _multipliers(ours, measures) == pytest.approx(expected)
    assert min(expected) < 0.2


@pytest.mark.parametrize(("monitor", "falls"), [("valid_loss", True), ("valid_accuracy", False)])
def test_performance_watches_its_monitor(monitor: Monitor, falls: bool) -> None:
    schedule = _schedule(configs.Performance(monitor=monitor, patience=1, factor=0.1))
    for epoch in range(3):
        schedule.set_rates(STEPS_PER_EPOCH * (epoch + 1) - 1)
        schedule.end_epoch({"valid_loss": 1.0, "valid_accuracy": 0.1 * epoch})
    assert schedule.set_rates(30) == pytest.approx(0.01 if falls else 1.0)


def test_performance_counts_no_epoch_of_the_warmup() -> None:
    schedule = _schedule(configs.Performance(patience=2, factor=0.1, warmup_epochs=3.0))
    multipliers = []
    for epoch in range(6):
        for step in range(10 * epoch, 10 * epoch + 10):
            schedule.set_rates(step)
        schedule.end_epoch({"valid_loss": 1.0, "valid_accuracy": 0.5})
        multipliers.append(schedule.set_rates(10 * epoch + 10))
    # two epochs without improvement follow the warm-up
    assert multipliers[2:] == pytest.approx([1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(("warmup_epochs", "falls_after"), [(0.5, 2), (1.0, 2), (1.1, 3), (2.0, 3), (2.9, 4)])
def test_an_epoch_in_which_the_warmup_ends_does_not_count(warmup_epochs: float, falls_after: int) -> None:
    schedule = _schedule(configs.Performance(patience=1, factor=0.1, warmup_epochs=warmup_epochs))
    multipliers = []
    for epoch in range(6):
        for step in range(10 * epoch, 10 * epoch + 10):
            rate = schedule.set_rates(step)
        multipliers.append(rate)
        schedule.end_epoch({"valid_loss": 1.0, "valid_accuracy": 0.5})
    assert multipliers[falls_after - 1 : falls_after + 1] == pytest.approx([1.0, 0.1])
