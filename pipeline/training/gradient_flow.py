"""Gradient flow: what passes through each layer, forward and back, measured at every so many steps.

A measured step takes up to twice its time; those between take none, and the device is waited for once an epoch.
"""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.records.results import LayerFlow

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

WEIGHTED: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Where the derivative is below 4 % of its largest (sigmoid: 0.0099 of 0.25) and below 2 % (tanh: 0.0199 of 1).
SATURATED: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Sigmoid: lambda values: (values - 0.5).abs() > 0.49,
    nn.Tanh: lambda values: values.abs() > 0.99,
}
# What infinity is taken for, so that means, files and databases can hold it.
HUGE = 1e300
# Zero for every negative input, and with it the gradient: a unit that is never positive does not learn any more.
DYING = (nn.ReLU, nn.ReLU6)
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *SATURATED,
    *DYING,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.PReLU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Mish,
)


def norm(values: Tensor) -> Tensor:
    """Returns the Euclidean norm, 0-dimensional, in float64: gradients that explode have squares beyond float32."""
    result: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return result


class GradientFlow:
    """Measures a model's layers at some steps of its training.

    A layer is a module with weights and the activation that follows it; what stands between them (batch normalization)
    belongs to it: its pre-activations are what the activation is given. Frozen weights are no layer.

    Args:
        model: The model; the modules that are measured are found when this is made.
        every: Optimizer steps from one measured step to the next; the first one is measured.
    """

    def __init__(self, model: nn.Module, every: int) -> None:
        # Of a network that begins at a cut, the layers below have lost their weights.
        self.weighted = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, WEIGHTED) and isinstance(module.weight, Tensor)
        ]
        self.activations = [module for module in model.modules() if isinstance(module, ACTIVATIONS)]
        self.every, self.num_steps = every, 0
        self.steps: list[Tensor] = []  # (layers, 6) each: the first figures of `LayerFlow`, in its order
        self.alive: dict[int, Tensor] = {}  # from a layer's index to which of its units were positive, (units,)
        self.names: list[str] = []
        self.kinds: list[type[nn.Module]] = []

    def next_step(self) -> bool:
        """Counts a step; returns whether it is to be measured, by a `StepRecorder`."""
        is_due = self.num_steps % self.every == 0
        self.num_steps += 1
        return is_due

    def collect(self) -> tuple[LayerFlow, ...]:
        """Returns the means over the steps measured since the last time, layer by layer, and forgets them.

        Steps with a figure that is no number are left out; without any other there is nothing to return. Infinite ones
        count as `HUGE`.
        """
        measurements = torch.stack(self.steps).cpu() if self.steps else torch.empty(0, 0, 6, dtype=torch.float64)
        measurements = measurements[~measurements.isnan().flatten(1).any(1)].clamp(-HUGE, HUGE)
        alive = {index: units.cpu() for index, units in self.alive.items()}
        self.steps, self.alive = [], {}
        if len(measurements) == 0:
            return ()
        layers = []
        for index, (name, kind, means) in enumerate(
            zip(self.names, self.kinds, measurements.mean(0).tolist(), strict=True)
        ):
            weight_gradient, gradient, update_ratio, mean, std, saturated = means
            layers.append(
                LayerFlow(
                    layer=index + 1,
                    module=name,
                    weight_gradient=weight_gradient,
                    gradient=gradient,
                    update_ratio=update_ratio,
                    mean=mean,
                    std=std,
                    dead=1.0 - float(alive[index].float().mean()) if index in alive else None,
                    saturated=saturated if kind in SATURATED else None,
                )
            )
        return tuple(layers)


class _Layer:
    """One layer in one step: its weights, pre-activations and activations."""

    def __init__(self, name: str, weight: Tensor, output: Tensor) -> None:
        self.name, self.weight, self.preactivations = name, weight, output
        self.activations: Tensor | None = None
        self.kind: type[nn.Module] = nn.Identity
        self.gradient = torch.zeros((), dtype=torch.float64, device=output.device)

    def listen(self, preactivations: Tensor) -> None:
        """Waits for the gradient with respect to the pre-activations, before anything may change them in place."""
        # Not the tensor itself: it holds the hook, which holds this layer, and no collector sees through that circle.
        self.preactivations = preactivations.detach()

        def store(gradient: Tensor) -> None:
            self.gradient = norm(gradient)

        if preactivations.requires_grad:
            preactivations.register_hook(store)


class StepRecorder:
    """Measures one step: a context for the forward pass, then `before_update` and `after_update`."""

    def __init__(self, flow: GradientFlow) -> None:
        self.flow = flow
        self.layers: list[_Layer] = []
        self.open: _Layer | None = None  # has not met its activation yet
        self.handles: list[RemovableHandle] = []
        self.weights: list[Tensor] = []
        self.gradients: list[Tensor] = []

    def __enter__(self) -> None:
        for name, module in self.flow.weighted:
            self.handles.append(module.register_forward_hook(self._weighted(name)))
        for module in self.flow.activations:
            self.handles.append(module.register_forward_pre_hook(self._activation_begins))
            self.handles.append(module.register_forward_hook(self._activation_ends))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self.handles:
            handle.remove()
        for layer in self.layers:
            if layer.activations is None:
                layer.listen(layer.preactivations)

    def _weighted(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            weight = module.weight
            assert isinstance(weight, Tensor)
            self.open = _Layer(name, weight, output) if weight.requires_grad else None
            if self.open is not None:
                self.layers.append(self.open)

        return hook

    def _activation_begins(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.open is not None:
            self.open.listen(inputs[0])

    def _activation_ends(self, module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self.open is not None:
            self.open.activations = output.detach()
            self.open.kind = next(kind for kind in ACTIVATIONS if isinstance(module, kind))
            self.open = None

    def before_update(self) -> None:
        """Reads the gradients, before they are clipped, and the weights."""
        for layer in self.layers:
            assert layer.weight.grad is not None
            self.weights.append(layer.weight.detach().clone())
            self.gradients.append(norm(layer.weight.grad))

    @torch.no_grad()
    def after_update(self) -> None:
        """Hands the step's figures over."""
        rows = []
        for index, (layer, weight, gradient) in enumerate(zip(self.layers, self.weights, self.gradients, strict=True)):
            values = layer.preactivations.detach() if layer.activations is None else layer.activations
            size, change = norm(weight), norm(layer.weight - weight)
            update = torch.where(size > 0, change / size, 0.0)  # a layer that was initialized with zeros has no ratio
            mean = values.mean(dtype=torch.float64)
            deviation = (norm(values).square() / values.numel() - mean.square()).clamp_min(0.0).sqrt()
            saturated = torch.zeros_like(mean)
            if layer.kind in SATURATED:
                saturated = SATURATED[layer.kind](values).mean(dtype=torch.float64)
            rows += [gradient, layer.gradient, update, mean, deviation, saturated]
            if issubclass(layer.kind, DYING):
                self._note_alive(index, values, -1 if layer.weight.ndim == 2 else 1)
        self.flow.names = [layer.name for layer in self.layers]
        self.flow.kinds = [layer.kind for layer in self.layers]
        self.flow.steps.append(torch.stack(rows).view(-1, 6))

    def _note_alive(self, index: int, values: Tensor, units: int) -> None:
        """Notes which units were positive; they are the last axis after a linear layer, and the channels else."""
        positive = (values > 0).transpose(0, units).flatten(1).any(1)
        known = self.flow.alive.get(index)
        self.flow.alive[index] = positive if known is None else known | positive
