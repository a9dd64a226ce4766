"""What dnntune does where textbooks, Keras and PyTorch differ: docs/conventions.md, whose other rows older tests hold.

The other way to compute is written down beside ours, and must give something else.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import training as configs
from pipeline.config.training import OptimizerConfig
from pipeline.models.activations import build_activation
from pipeline.models.mlp import Mlp
from pipeline.optim.optimizers import build_optimizer
from pipeline.optim.parameters import FlatParameters
from pipeline.optim.schedules import Performance, build_schedule, cosine, one_cycle, piecewise

GRADIENTS = [0.5, -0.2, 0.3, 0.3, -0.1, 0.4]
RATES = [0.1, 0.1, 0.01, 0.05, 0.001, 0.1]


def _trained(config: OptimizerConfig, gradients: Sequence[float], rates: Sequence[float]) -> list[float]:
    """A weight that begins at 1, after each of some steps."""
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    parameters = FlatParameters(layer)
    optimizer = build_optimizer(config, parameters)
    weights = []
    for gradient, rate in zip(gradients, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        parameters.gradient.fill_(gradient)
        optimizer.step()
        weights.append(layer.weight.item())
    return weights


def _momentum(*, nesterov: bool = False, decay: float = 0.0, decoupled: bool = False) -> Callable[..., list[float]]:
    """The rate outside of the velocity: v = 0.9 v + g, w -= rate v."""

    def weights(gradients: Sequence[float], rates: Sequence[float]) -> list[float]:
        weight, velocity, found = 1.0, 0.0, []
        for gradient, rate in zip(gradients, rates, strict=True):
            if decoupled:
                weight -= rate * decay * weight
            else:
                gradient += decay * weight
            velocity = 0.9 * velocity + gradient
            weight -= rate * (gradient + 0.9 * velocity if nesterov else velocity)
            found.append(weight)
        return found

    return weights


def _keras_momentum(*, nesterov: bool = False) -> Callable[..., list[float]]:
    """The rate within the velocity: v = 0.9 v - rate g, w += v."""

    def weights(gradients: Sequence[float], rates: Sequence[float]) -> list[float]:
        weight, velocity, found = 1.0, 0.0, []
        for gradient, rate in zip(gradients, rates, strict=True):
            velocity = 0.9 * velocity - rate * gradient
            weight += 0.9 * velocity - rate * gradient if nesterov else velocity
            found.append(weight)
        return found

    return weights


def _rmsprop(root: Callable[[float], float]) -> Callable[..., list[float]]:
    def weights(gradients: Sequence[float], rates: Sequence[float]) -> list[float]:
        weight, square, velocity, found = 1.0, 0.0, 0.0, []
        for gradient, rate in zip(gradients, rates, strict=True):
            square = 0.9 * square + 0.1 * gradient**2
            velocity = 0.5 * velocity + gradient / root(square)
            weight -= rate * velocity
            found.append(weight)
        return found

    return weights


def _adam(*, epsilon: float, corrected_after: bool = False) -> Callable[..., list[float]]:
    """Kingma and Ba's algorithm 1; ``corrected_after``: the shorter form before their section 2.1, which Keras has."""

    def weights(gradients: Sequence[float], rates: Sequence[float]) -> list[float]:
        weight, mean, square, found = 1.0, 0.0, 0.0, []
        for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            first, second = 1.0 - 0.9**step, 1.0 - 0.999**step
            if corrected_after:
                weight -= rate * math.sqrt(second) / first * mean / (math.sqrt(square) + epsilon)
            else:
                weight -= rate * (mean / first) / (math.sqrt(square / second) + epsilon)
            found.append(weight)
        return found

    return weights


def _nadam(speed: float) -> Callable[..., list[float]]:
    """Dozat's; his momentum is scheduled by 0.96^(t / 250), so that ``speed`` is 0.004."""

    def momentum(step: int) -> float:
        return 0.9 * (1.0 - 0.5 * math.pow(0.96, step * speed))

    def weights(gradients: Sequence[float], rates: Sequence[float]) -> list[float]:
        weight, mean, square, product, found = 1.0, 0.0, 0.0, 1.0, []
        for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            product *= momentum(step)
            ahead = momentum(step + 1) * mean / (1.0 - product * momentum(step + 1))
            now = (1.0 - momentum(step)) * gradient / (1.0 - product)
            weight -= rate * (now + ahead) / (math.sqrt(square / (1.0 - 0.999**step)) + 1e-8)
            found.append(weight)
        return found

    return weights


SGD = configs.Sgd(momentum=0.9)
TINY = [gradient * 1e-7 for gradient in GRADIENTS]


@pytest.mark.parametrize(
    ("config", "gradients", "ours", "others"),
    [
        pytest.param(SGD, GRADIENTS, _momentum(), _keras_momentum(), id="momentum"),
        pytest.param(
            configs.Sgd(momentum=0.9, nesterov=True),
            GRADIENTS,
            _momentum(nesterov=True),
            _keras_momentum(nesterov=True),
            id="nesterov",
        ),
        pytest.param(
            configs.Sgd(momentum=0.9, weight_decay=0.5),
            GRADIENTS,
            _momentum(decay=0.5),
            _momentum(decay=0.5, decoupled=True),
            id="decay",
        ),
        pytest.param(
            configs.RmsProp(momentum=0.5),
            TINY,
            _rmsprop(lambda square: math.sqrt(square) + 1e-8),
            _rmsprop(lambda square: math.sqrt(square + 1e-7)),
            id="rmsprop",
        ),
        pytest.param(configs.Adam(), TINY, _adam(epsilon=1e-8), _adam(epsilon=1e-7, corrected_after=True), id="adam"),
        pytest.param(configs.NAdam(), GRADIENTS, _nadam(0.004), _nadam(1.0), id="nadam"),
    ],
)
def test_optimizers(
    config: OptimizerConfig,
    gradients: list[float],
    ours: Callable[..., list[float]],
    others: Callable[..., list[float]],
) -> None:
    weights = np.array(_trained(config, gradients, RATES))
    assert weights == pytest.approx(ours(gradients, RATES), abs=2e-6)
    assert np.abs(weights - others(gradients, RATES)).max() > 1e-3


def test_with_a_constant_rate_momentum_is_the_same_everywhere() -> None:
    rates = [0.1] * 6
    assert _trained(SGD, GRADIENTS, rates) == pytest.approx(_keras_momentum()(GRADIENTS, rates), abs=2e-6)


@pytest.mark.parametrize("kind", [configs.Sgd, configs.RmsProp, configs.Adam, configs.NAdam])
def test_the_decay_of_all_but_adamw_goes_through_the_gradient(kind: type[configs.OptimizerBlock]) -> None:
    """The weight is 1 in the first step: its decay is then as good as a gradient."""
    (decayed,) = _trained(kind.model_validate({"weight_decay": 0.5}), [0.0], [0.1])
    assert decayed == pytest.approx(_trained(kind.model_validate({}), [0.5], [0.1])[0])
    assert decayed != pytest.approx(1.0 - 0.1 * 0.5) or kind is configs.Sgd


def test_adamw_decays_by_its_decay_times_the_rate_of_the_step() -> None:
    """A gradient of zero leaves the decay alone."""
    weights = _trained(configs.AdamW(weight_decay=0.2), [0.0] * 6, RATES)
    assert weights == pytest.approx(np.cumprod([1.0 - 0.2 * rate for rate in RATES]), abs=2e-6)


def test_max_norm_is_for_matrices() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    assert [tuple(weight.shape) for weight in FlatParameters(network).weights] == [(2, 16)]


def _statistics(batches: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The moving mean and variance of one input, after some batches, the newest of which weighs 0.3."""
    network = Mlp(1, 2, widths=[], activation="relu", input_batch_norm=True, batch_norm_alpha=0.3)
    for batch in batches:
        network(batch)
    normalization = network.layers[1]
    assert isinstance(normalization, nn.BatchNorm1d)
    return normalization.running_mean, normalization.running_var  # type: ignore[return-value]


def test_moving_statistics_of_batch_normalization() -> None:
    batches = [torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0], [10.0]])]
    mean, variance = _statistics(batches)
    assert mean.item() == pytest.approx(0.7 * (0.7 * 0.0 + 0.3 * 2.0) + 0.3 * 7.0)
    assert variance.item() == pytest.approx(0.7 * (0.7 * 1.0 + 0.3 * 2.0) + 0.3 * 18.0)  # unbiased ones: 2 and 18
    biased = 0.7 * (0.7 * 1.0 + 0.3 * 1.0) + 0.3 * 9.0
    from_the_first_batch = 0.7 * 2.0 + 0.3 * 18.0
    averaged_deviations = (0.7 * (0.7 * 1.0 + 0.3 * math.sqrt(2.0)) + 0.3 * math.sqrt(18.0)) ** 2
    for other in (biased, from_the_first_batch, averaged_deviations):
        assert abs(variance.item() - other) > 0.1


def test_slopes_of_leaky_activations() -> None:
    inputs = torch.tensor([-1.0])
    assert build_activation("leaky_relu")(inputs).item() == pytest.approx(-0.01)
    assert build_activation("prelu")(inputs).item() == pytest.approx(-0.01)


def _plateau_of_keras(losses: Sequence[float], *, patience: int, cooldown: int) -> list[float]:
    """What Keras's ReduceLROnPlateau multiplies the rate with, by 0.5, after each epoch."""
    best, wait, cooling, multiplier, found = math.inf, 0, 0, 1.0, []
    for loss in losses:
        if cooling > 0:
            cooling, wait = cooling - 1, 0
        if loss < best:
            best, wait = loss, 0
        elif cooling == 0:
            wait += 1
            if wait >= patience:
                multiplier, cooling, wait = 0.5 * multiplier, cooldown, 0
        found.append(multiplier)
    return found


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("cooldown", [0, 1, 3])
def test_performance_is_kerass_with_a_cooldown_of_one_less(patience: int, cooldown: int) -> None:
    losses = np.random.default_rng(patience).normal(size=100).tolist()
    lr_lambda = Performance(
        maximize=False, factor=0.5, patience=patience, min_delta=0.0, cooldown=cooldown, min_factor=0.0
    )
    found = []
    for loss in losses:
        lr_lambda.observe(loss)
        found.append(lr_lambda(0))
    theirs = _plateau_of_keras(losses, patience=patience, cooldown=cooldown + 1 if cooldown else 0)
    assert found == theirs
    assert found != _plateau_of_keras(losses, patience=patience, cooldown=cooldown) or cooldown == 0


def test_a_threshold_is_absolute() -> None:
    """At a loss of 100, PyTorch's relative threshold of 1e-4 would not count a fall by 0.001."""
    lr_lambda = Performance(maximize=False, factor=0.5, patience=1, min_delta=1e-4, cooldown=0, min_factor=0.0)
    for loss in (100.0, 99.999, 99.998):
        lr_lambda.observe(loss)
    assert lr_lambda(0) == 1.0


def _one_cycle_of_pytorch(**settings: object) -> tuple[list[float], list[float]]:
    """Rates and momenta of 1,000 steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=1000,
        **settings,  # type: ignore[arg-type]
    )
    rates, momenta = [], []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if len(rates) < 1000:
            theirs.step()
    return rates, momenta


def test_one_cycle_is_pytorchs_in_three_linear_phases_with_momentum_left_alone() -> None:
    settings = configs.OneCycle().model_dump(include={"rise_fraction", "div", "final_div"})
    rates = np.array([one_cycle(step, total_steps=1000, **settings) for step in range(1000)])
    linear = {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.45}
    theirs, _ = _one_cycle_of_pytorch(**linear, div_factor=10.0, final_div_factor=1000.0)
    assert np.abs(rates - theirs).max() < 0.01
    default, momenta = _one_cycle_of_pytorch()
    assert np.abs(rates - default).max() > 0.3
    assert min(momenta) < 0.86
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    schedule = build_schedule(configs.OneCycle(), optimizer, steps_per_epoch=10, epochs=10)
    for step in range(100):
        schedule.set_rates(step)
        assert optimizer.param_groups[0]["momentum"] == 0.9


def test_the_last_step_of_cosine_has_the_last_rate() -> None:
    rates = [cosine(step, total_steps=5) for step in range(5)]
    assert rates == pytest.approx([0.5 * (1.0 + math.cos(math.pi * step / 4)) for step in range(5)])
    assert rates[-1] == 0.0  # where T_max is the number of steps, it is the first step after the training that has it


def test_warmup_begins_above_zero_and_ends_at_the_full_rate() -> None:
    def rates_of(config: configs.ScheduleConfig) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        schedule = build_schedule(config, optimizer, steps_per_epoch=4, epochs=3)
        return [schedule.set_rates(step) for step in range(12)]

    rates = rates_of(configs.Cosine(warmup_epochs=1.0))
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[-1] == pytest.approx(0.0)
    shifted = rates_of(configs.Piecewise(warmup_epochs=1.0, boundaries=(1.0,), factors=(0.1,)))
    assert shifted[7:10] == pytest.approx([1.0, 0.1, 0.1])


def test_the_step_at_a_boundary_has_the_rate_after_it() -> None:
    """As PyTorch's MultiStepLR; Keras's PiecewiseConstantDecay changes one step later."""
    rates = [piecewise(step, boundaries=[3.0], factors=[0.1]) for step in range(6)]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3])
    expected = []
    for _ in range(6):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates == expected == [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("kind", [configs.Power, configs.Exponential])
def test_power_and_exponential_fall_from_step_to_step(kind: type[configs.Power] | type[configs.Exponential]) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = build_schedule(kind(), optimizer, steps_per_epoch=4, epochs=3)
    rates = [schedule.set_rates(step) for step in range(12)]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
