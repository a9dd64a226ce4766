"""Gradient flow: its figures against a computation by hand, and that measuring changes nothing."""

import copy
import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import training as configs
from pipeline.config.model import Dropout
from pipeline.config.trial import TrialConfig
from pipeline.data.batches import epoch_batches
from pipeline.data.image_data import ImageData
from pipeline.records.results import LayerFlow
from pipeline.training.gradient_flow import GradientFlow, StepRecorder
from pipeline.training.loop import DivergedError
from pipeline.training.start import start

Configure = Callable[..., TrialConfig]
ROWS = torch.arange(32)


def _measure(flow: GradientFlow, model: nn.Module, inputs: Tensor) -> None:
    """Takes a step that does not move the weights; the loss pulls every output towards 1."""
    assert flow.next_step()
    watch = StepRecorder(flow)
    model.zero_grad()
    with watch:
        outputs = model(inputs)
    functional.mse_loss(outputs, torch.ones_like(outputs)).backward()
    watch.before_update()
    watch.after_update()


def _measured(model: nn.Module, *batches: Sequence[object]) -> tuple[LayerFlow, ...]:
    flow = GradientFlow(model, every=1)
    for batch in batches:
        _measure(flow, model, torch.tensor(batch))
    return flow.collect()


def _identity(units: int, activation: nn.Module) -> nn.Sequential:
    """A hidden layer whose pre-activations are its inputs, and an output."""
    hidden = nn.Linear(units, units)
    nn.init.eye_(hidden.weight)
    nn.init.zeros_(hidden.bias)
    return nn.Sequential(hidden, activation, nn.Linear(units, 2))


def _reference(model: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[float, ...]]:
    """The first figures of each layer, but for the update ratio, from the values between the modules and autograd."""
    weights: list[Tensor] = []
    preactivations: list[Tensor] = []
    activations: list[Tensor] = []
    values = images
    for layer in model.layers:
        if isinstance(layer, nn.ReLU):
            preactivations[-1] = values
        values = layer(values)
        if isinstance(layer, nn.Linear):
            weights.append(layer.weight)
            preactivations.append(values)
            activations.append(values)
        if isinstance(layer, nn.ReLU):
            activations[-1] = values
    loss = functional.cross_entropy(values, labels)
    norms = [gradient.norm().item() for gradient in torch.autograd.grad(loss, weights + preactivations)]
    moments = [(values.mean().item(), values.std(correction=0).item()) for values in activations]
    return [(*rest[:2], *rest[2]) for rest in zip(norms[: len(weights)], norms[len(weights) :], moments, strict=True)]


def _first_step(config: TrialConfig, data: ImageData) -> tuple[LayerFlow, ...]:
    training = start(config, data, measure_every=1)
    training.schedule.set_rates(0)
    training.step(next(epoch_batches(data.train, config.batch_size, config.seed))[0])
    return training.step.flow.collect()


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
def test_figures_agree_with_autograd(batch_norm: str, small_data: ImageData, configure: Configure) -> None:
    clip = configs.ClipNorm(threshold=1e-3)
    training = start(configure(model={"batch_norm": batch_norm}, clip=clip), small_data, measure_every=1)
    expected = _reference(copy.deepcopy(training.model), *small_data.train.batch(ROWS))
    training.step(ROWS)
    layers = training.step.flow.collect()
    linears = [name for name, module in training.model.named_modules() if isinstance(module, nn.Linear)]
    assert [(layer.layer, layer.module) for layer in layers] == list(enumerate(linears, 1))
    for layer, figures in zip(layers, expected, strict=True):
        assert min(figures[:2]) > 0.0
        assert (layer.weight_gradient, layer.gradient, layer.mean, layer.std) == pytest.approx(
            figures, rel=1e-4, abs=1e-7
        )


def test_update_ratio_compares_the_weights_before_and_after(small_data: ImageData, configure: Configure) -> None:
    config = configure(optimizer=configs.Sgd(lr=0.3), schedule=configs.Constant(), max_norm=0.5)
    training = start(config, small_data, measure_every=1)
    linears = [module for module in training.model.modules() if isinstance(module, nn.Linear)]
    before = [linear.weight.detach().clone() for linear in linears]
    training.step(ROWS)
    ratios = [((new.weight - old).norm() / old.norm()).item() for new, old in zip(linears, before, strict=True)]
    assert [layer.update_ratio for layer in training.step.flow.collect()] == pytest.approx(ratios, rel=1e-4)
    assert min(ratios) > 1e-3


def test_units_that_a_bias_holds_down_are_dead(small_data: ImageData, configure: Configure) -> None:
    training = start(configure(model={"batch_norm": "none"}), small_data, measure_every=1)
    bias = next(module.bias for module in training.model.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        bias.fill_(1e4)
        bias[:4] = -1e4
    training.step(ROWS)
    first, _, output = training.step.flow.collect()
    assert (first.dead, first.saturated, output.dead) == (4 / 16, None, None)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()])
def test_a_unit_lives_if_one_image_of_any_batch_makes_it_positive(activation: nn.Module) -> None:
    model = _identity(4, activation)
    left, right = [[1.0, -1.0, -1.0, 0.0]] * 3, [[-1.0, -1.0, -1.0, 0.0], [-1.0, 1.0, -1.0, 0.0]]
    flow = GradientFlow(model, every=1)
    for batches, dead in (([left], 0.75), ([left, right], 0.5), ([right, left], 0.5), ([right], 0.75)):
        for batch in batches:
            _measure(flow, model, torch.tensor(batch))
        assert flow.collect()[0].dead == dead


@pytest.mark.parametrize(("activation", "inside", "outside"), [(nn.Tanh(), 2.6, 2.7), (nn.Sigmoid(), 4.55, 4.65)])
def test_saturated_share(activation: nn.Module, inside: float, outside: float) -> None:
    hidden, output = _measured(_identity(2, activation), [[inside, -inside], [outside, 0.0], [-outside, outside]])
    assert hidden.saturated == pytest.approx(3 / 6)
    assert (hidden.dead, output.saturated) == (None, None)


@pytest.mark.parametrize("activation", [nn.SELU(), nn.ELU(), nn.LeakyReLU(), nn.PReLU(), nn.GELU(), nn.SiLU()])
def test_other_activations_neither_die_nor_saturate(activation: nn.Module) -> None:
    hidden, _ = _measured(_identity(2, activation), [[-3.0, 5.0]])
    assert (hidden.dead, hidden.saturated) == (None, None)
    assert set(hidden.measures()) == {"weight_gradient", "gradient", "update_ratio", "mean", "std"}
    assert hidden.mean == pytest.approx(activation(torch.tensor([-3.0, 5.0])).mean().item())


@pytest.mark.parametrize(("every", "measured"), [(1, [1] * 7), (3, [1, 0, 0, 1, 0, 0, 1]), (9, [1, 0, 0, 0, 0, 0, 0])])
def test_the_first_step_is_measured_and_then_every_nth(every: int, measured: list[int]) -> None:
    flow = GradientFlow(nn.Linear(2, 2), every)
    assert [flow.next_step() for _ in range(7)] == [bool(step) for step in measured]


def test_figures_are_means_over_the_measured_steps_and_collecting_forgets_them() -> None:
    model = _identity(3, nn.Tanh())
    batches = torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(1)).tolist()
    batches[2] = [[9.0, -9.0, 0.0]]
    singles = [_measured(model, batch)[0] for batch in batches]
    flow = GradientFlow(model, every=1)
    for batch in batches:
        _measure(flow, model, torch.tensor(batch))
    together = flow.collect()[0]
    for name in ("weight_gradient", "gradient", "mean", "std", "saturated"):
        assert getattr(together, name) == pytest.approx(sum(getattr(one, name) for one in singles) / 3, rel=1e-5)
    assert flow.collect() == ()


def test_a_step_that_is_not_finite_is_left_out() -> None:
    finite, poisoned = [[1.0, -2.0], [0.5, 1.0]], [[1.0, torch.nan], [0.5, 1.0]]
    model = _identity(2, nn.Tanh())
    assert _measured(model, finite, poisoned) == _measured(model, finite)
    assert _measured(model, poisoned, poisoned) == ()


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
def test_measuring_changes_no_bit(batch_norm: str, small_data: ImageData, configure: Configure) -> None:
    config = configure(model={"batch_norm": batch_norm, "dropout": Dropout(rate=0.3)}, epochs=2, max_norm=2.0)
    runs = []
    for every in (None, 1):
        training = start(config, small_data, measure_every=every)
        results = [replace(result, seconds=0.0, samples_per_second=0.0) for result in training.epochs]
        assert all(bool(result.gradient_flow) == (every is not None) for result in results)
        runs.append(([replace(result, gradient_flow=()) for result in results], training.model.state_dict()))
    (plain, weights), (measured, same_weights) = runs
    assert plain == measured
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)


def test_frozen_weights_are_no_layer() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    model[0].weight.requires_grad_(False)
    layers = _measured(model, [[1.0, 2.0]])
    found = [(layer.layer, layer.module, layer.dead, layer.saturated is None) for layer in layers]
    assert found == [(1, "2", None, False), (2, "4", None, True)]


def test_hooks_are_gone_after_a_step_and_after_a_failed_one() -> None:
    model = _identity(2, nn.ReLU())
    with pytest.raises(RuntimeError):
        _measured(model, [[1.0, 2.0, 3.0]])
    _measured(model, [[1.0, 2.0]])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_activation_in_place_gets_the_same_figures() -> None:
    def figures(*, inplace: bool) -> tuple[LayerFlow, ...]:
        torch.manual_seed(0)
        hidden = [nn.Linear(3, 4), nn.ReLU(inplace), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace)]
        return _measured(nn.Sequential(*hidden, nn.Linear(4, 2)), torch.randn(8, 3).tolist())

    assert figures(inplace=True) == figures(inplace=False)
    assert min(layer.gradient for layer in figures(inplace=True)) > 0.0


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
def test_units_are_channels(dimensions: int) -> None:
    """One is positive everywhere, one at a single place, and two nowhere; with no dimension, a sequence of tokens."""
    layer = (nn.Linear(1, 4), nn.Conv1d(1, 4, 1), nn.Conv2d(1, 4, 1), nn.Conv3d(1, 4, 1))[dimensions]
    weight = torch.tensor([1.0, -1.0, 0.0, 0.0]).view_as(layer.weight)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(4)})
    inputs = torch.ones((2, 1, 3, 2, 2)[: dimensions + 2] if dimensions else (2, 3, 1))
    inputs.view(-1)[-1] = -1.0
    hidden, _ = _measured(nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)), inputs.tolist())
    assert hidden.dead == 0.5
    assert hidden.mean == pytest.approx(0.25)


def test_an_epoch_has_the_figures_of_its_measured_steps(small_data: ImageData, configure: Configure) -> None:
    """Eight steps an epoch: the 1st and the 21st are measured, none of the second epoch."""
    config = configure(epochs=3)
    first, second, third = start(config, small_data, measure_every=20).epochs
    assert first.gradient_flow == _first_step(config, small_data)
    assert (len(first.gradient_flow), second.gradient_flow, len(third.gradient_flow)) == (3, (), 3)


def test_divergence_keeps_what_was_measured_before(small_data: ImageData, configure: Configure) -> None:
    model = {"activation": "selu", "batch_norm": "none"}
    config = configure(optimizer=configs.Sgd(lr=1e15), schedule=configs.Constant(), model=model)
    with pytest.raises(DivergedError) as caught:
        list(start(config, small_data, measure_every=1).epochs)
    assert caught.value.gradient_flow == _first_step(config, small_data) != ()


def test_a_measured_steps_tensors_are_freed() -> None:
    model = _identity(2, nn.ReLU())
    seen = []
    hook = model[0].register_forward_hook(lambda module, inputs, output: seen.append(weakref.ref(output)))
    _measured(model, [[1.0, 2.0]])
    hook.remove()
    gc.collect()
    assert [reference() for reference in seen] == [None]
