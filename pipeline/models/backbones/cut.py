"""A network body cut in two between its stages: what stays frozen below the cut, and what learns above it.

No architecture is known here: the cut is found by watching the body run, and proven on some images.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.backbones.stages import num_stages, top_parameters


class CannotSplitError(Exception):
    """A body cannot be cut in two between these stages; the message says why. No mistake of the user's."""


def split(body: nn.Module, top_stages: int, example: Tensor) -> tuple[nn.Module, nn.Module]:
    """Cuts a body below its top stages; ``suffix(prefix(images))`` is ``body(images)``, in evaluation mode to the bit.

    The cut is where the first module is called all of whose parameters are in the top stages: the prefix ends the call
    there, and gives what that module would have got; the suffix runs the body with that put in, and leaves out each
    module that was done by then. In their place the body's code between modules gets NaN, which proves on the example
    that nothing above the cut depends on anything but the features.

    Args:
        body: The network body, on its device. Its mode stays as it is.
        top_stages: Stages above the cut.
        example: A few images, at least 2, (batch, channels, height, width): the cut is verified on them.

    Returns:
        The prefix, from images to features (batch, ...): the pooled ones if ``top_stages`` is 0. They are contiguous,
        their dimensions in the order of the body's memory there. The prefix stays in evaluation mode and records
        nothing for gradients. And the suffix, from those to pooled features, in the body's mode. Both share their
        parameters and buffers with the body.

    Raises:
        CannotSplitError: The body cannot be cut there.
        ModelError: There are not that many stages, or the body tells nothing of them.
    """
    assert len(example) > 1
    top = top_parameters(body, top_stages)
    whole = _Prefix(_share(body), None)
    if top_stages == 0:
        return whole, nn.Identity()
    if top_stages == num_stages(body):
        return nn.Identity(), _share(body)
    cut = _Cut(_share(body), top, example)
    prefix, suffix = _Prefix(_share(body), cut), _Suffix(_share(body), cut)
    missing = {id(parameter) for parameter in top} - {id(parameter) for parameter in suffix.parameters()}
    if missing:
        raise CannotSplitError("a module below the cut has parameters of the stages above it")
    suffix.eval()
    for images in (example, example[:1]):
        _verify(whole, prefix, suffix, images)
    return prefix, suffix.train(body.training)


class _ReachedError(Exception):
    """Ends a forward pass at the cut."""

    def __init__(self, features: Tensor) -> None:
        self.features = features


class _Cut:
    """Where a body can be cut, found by watching it run.

    Args:
        body: The body; it is left in evaluation mode and with hooks.
        top: Its parameters above the cut.
        images: What it runs on, (batch, channels, height, width).

    Attributes:
        module: Name of the first module called whose parameters are all above the cut.
        order: Dimensions of what enters it, the one with the largest stride first, after that of the images.
        done: What each module gave that was done by then, the outermost ones, by its name; tensors have no values.
        images: The images, without values.
    """

    def __init__(self, body: nn.Module, top: list[nn.Parameter], images: Tensor) -> None:
        self.module = ""
        self.order: list[int] = []
        self.done: dict[str, Any] = {}
        self.images = images.to("meta")
        above = {id(parameter) for parameter in top}
        for name, module in body.named_modules():
            parameters = {id(parameter) for parameter in module.parameters()}
            if parameters and parameters <= above:
                module.register_forward_pre_hook(functools.partial(self._called, name))
            module.register_forward_hook(functools.partial(self._returned, name))
        flags = [(parameter, parameter.requires_grad) for parameter in body.parameters()]
        try:
            # Only for the cut to be seen in `_called`: the parameters are the user's.
            for parameter, _ in flags:
                parameter.requires_grad_(id(parameter) in above)
            with torch.enable_grad():
                body.eval()(images)
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
        if not self.module:
            raise CannotSplitError("no module has parameters of the top stages alone")
        inner = [name for name in self.done if any(name.startswith(f"{other}.") for other in self.done)]
        for name in inner:
            del self.done[name]

    def _called(self, name: str, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.module:
            return
        self.module = name
        if not inputs or not isinstance(inputs[0], Tensor) or len(inputs[0]) != len(self.images):
            raise CannotSplitError(f"what enters {name} is not one tensor with a row for each image")
        if inputs[0].requires_grad:
            raise CannotSplitError(f"what enters {name} depends on parameters of the stages above it")
        strides = inputs[0].stride()
        self.order = [0, *sorted(range(1, inputs[0].ndim), key=lambda dimension: -strides[dimension])]

    def _returned(self, name: str, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        if self.module:
            self.done.pop(name, None)
            return
        leaves = list(_leaves(output))
        # What does not depend on the images (a table of rotary embeddings) is computed again.
        per_image = any(isinstance(leaf, Tensor) and _has_rows(leaf, len(self.images)) for leaf in leaves)
        if per_image and all(isinstance(leaf, Tensor | int | float | str | None) for leaf in leaves):
            self.done[name] = _map(lambda tensor: tensor.detach().to("meta"), output)


class _Prefix(nn.Module):
    """Runs a body up to a cut and returns what enters the module there; without a cut, the pooled features."""

    def __init__(self, body: nn.Module, cut: _Cut | None) -> None:
        super().__init__()
        self.body = body
        self.order = cut.order if cut else [0, 1]
        if cut:
            body.get_submodule(cut.module).register_forward_pre_hook(self._reach)
        self.train(False)

    def train(self, _mode: bool = True) -> "_Prefix":
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        try:
            features: Tensor = self.body(images)
        except _ReachedError as reached:
            features = reached.features
        return features.permute(self.order).contiguous()

    @staticmethod
    def _reach(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        raise _ReachedError(inputs[0])


class _Suffix(nn.Module):
    """Runs a body from a cut on; the modules done by then give NaN, and have no tensors any more."""

    def __init__(self, body: nn.Module, cut: _Cut) -> None:
        super().__init__()
        self.body = body
        self.images = cut.images
        # Another layout in memory would change sums in their last bit.
        self.order = [cut.order.index(dimension) for dimension in range(len(cut.order))]
        self.batch, self.device = 0, cut.images.device
        self.entering: list[Tensor] = []
        for name, output in cut.done.items():
            module = body.get_submodule(name)
            module.forward = functools.partial(self._unknown, output)
            for part in module.modules():
                own = [
                    *part.named_parameters(recurse=False, remove_duplicate=False),
                    *part.named_buffers(recurse=False, remove_duplicate=False),
                ]
                for tensor, _ in own:
                    setattr(part, tensor, None)
        body.get_submodule(cut.module).register_forward_pre_hook(self._enter)

    def forward(self, features: Tensor) -> Tensor:
        self.batch, self.device = len(features), features.device
        self.entering = [features.permute(self.order)]
        pooled: Tensor = self.body(self._unknown(self.images))
        return pooled

    def _enter(self, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        # Called a second time, the module gets what the body computes.
        return (self.entering.pop(), *inputs[1:]) if self.entering else None

    def _unknown(self, like: Any, *_inputs: Any, **_settings: Any) -> Any:
        def nan(tensor: Tensor) -> Tensor:
            rows = [self.batch] if _has_rows(tensor, len(self.images)) else tensor.shape[:1]
            value = torch.full((), torch.nan, dtype=tensor.dtype, device=self.device)
            return value.expand(*rows, *tensor.shape[1:])

        return _map(nan, like)


def _verify(whole: nn.Module, prefix: nn.Module, suffix: nn.Module, images: Tensor) -> None:
    expected, features = whole(images), prefix(images)
    before = features.clone()
    try:
        with torch.no_grad():
            pooled = suffix(features)
    # What a family's code may raise where it reads a tensor of a module that is left out, or computes with NaN.
    except (AttributeError, AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise CannotSplitError(f"above the cut, more is needed than the features that enter it: {error}") from error
    if not torch.equal(pooled, expected):
        raise CannotSplitError("the body in two parts does not compute the same to the bit")
    if not torch.equal(features, before):
        raise CannotSplitError("the part above the cut writes into the features that enter it")


def _share(body: nn.Module) -> nn.Module:
    """Copies the modules, not their tensors."""
    tensors = itertools.chain(body.parameters(), body.buffers())
    return copy.deepcopy(body, {id(tensor): tensor for tensor in tensors})


def _leaves(value: Any) -> Iterator[Any]:
    if type(value) in (tuple, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _map(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Changes each tensor in nested tuples and lists."""
    if type(value) in (tuple, list):
        return type(value)(_map(change, part) for part in value)
    return change(value) if isinstance(value, Tensor) else value


def _has_rows(tensor: Tensor, count: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == count
