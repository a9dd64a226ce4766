"""Batch normalization folded into the linear and convolutional layers beside it: y = s (W x + b) + t is one layer."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

aten = torch.ops.aten

LAYERS = (aten.linear.default, aten.conv1d.default, aten.conv2d.default)
# In evaluation mode these give what they are given.
PASSING = (aten.dropout.default, aten.alpha_dropout.default)


class Folded(NamedTuple):
    """How many batch normalizations were folded, and how many are left."""

    num_folded: int
    num_left: int


def fold_batch_norm(module: GraphModule) -> Folded:
    """Folds what can be folded of an exported graph in evaluation mode; its output stays the same but for rounding.

    Batch normalization is folded backward into the layer whose output it alone takes (Jacob et al., CVPR 2018,
    section 3.2), or else, where nothing but dropout lies between, forward into the linear layer that alone takes its
    output. After an activation and before a convolution that pads, neither is possible.

    Args:
        module: What `torch.export.ExportedProgram.module` returns; it is changed.
    """
    norms = [node for node in module.graph.nodes if node.target is aten.batch_norm.default]
    folded = sum(_fold_backward(module, node) or _fold_forward(module, node) for node in norms)
    module.graph.eliminate_dead_code()
    _drop_unused_tensors(module)
    module.recompile()
    return Folded(folded, len(norms) - folded)


def _fold_backward(module: GraphModule, norm: Node) -> bool:
    layer = norm.args[0]
    assert isinstance(layer, Node)
    if layer.target not in LAYERS or len(layer.users) > 1:
        return False
    if layer.target is aten.linear.default and layer.meta["val"].ndim != 2:
        return False  # its units are not what is normalized
    scale, shift = _scale_and_shift(module, norm)
    weight, bias = _weight_and_bias(module, layer)
    _replace(module, layer, weight * scale.view(-1, *(1,) * (weight.ndim - 1)), bias * scale + shift)
    norm.replace_all_uses_with(layer)
    module.graph.erase_node(norm)
    return True


def _fold_forward(module: GraphModule, norm: Node) -> bool:
    last, factor = norm, 1.0
    while len(last.users) == 1:
        (user,) = last.users
        if user.target is aten.linear.default and user.args[0] is last and user.meta["val"].ndim == 2:
            break
        if user.target is aten.mul.Tensor and user.args[0] is last and isinstance(user.args[1], int | float):
            factor *= user.args[1]  # dropout scaled at test time
        elif user.target not in PASSING:
            return False
        last = user
    else:
        return False
    scale, shift = _scale_and_shift(module, norm)
    weight, bias = _weight_and_bias(module, user)
    _replace(module, user, weight * scale, bias + factor * (weight @ shift))
    norm.replace_all_uses_with(norm.args[0])  # type: ignore[arg-type]
    module.graph.erase_node(norm)
    return True


def _scale_and_shift(module: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """Returns s and t, (channels,), float64."""
    weight, bias, mean, variance = (_tensor(module, argument) for argument in norm.args[1:5])
    training, epsilon = norm.args[5], norm.args[7]
    assert mean is not None
    assert variance is not None
    assert training is False
    assert isinstance(epsilon, float)
    scale = (variance + epsilon).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _weight_and_bias(module: GraphModule, layer: Node) -> tuple[Tensor, Tensor]:
    """Returns a layer's weight (outputs, ...) and bias (outputs,), float64."""
    weight = _tensor(module, layer.args[1])
    bias = _tensor(module, layer.args[2]) if len(layer.args) > 2 else None
    assert weight is not None
    return weight, weight.new_zeros(len(weight)) if bias is None else bias


def _tensor(module: GraphModule, node: Any) -> Tensor | None:
    if node is None:
        return None
    assert isinstance(node, Node)
    assert node.op == "get_attr"
    value = _attribute(module, str(node.target))
    return value.detach().double()


def _attribute(module: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    value: Tensor = getattr(module.get_submodule(owner), name)
    return value


def _replace(module: GraphModule, layer: Node, weight: Tensor, bias: Tensor) -> None:
    """Gives a layer other tensors, under names of their own: the old ones may serve other layers, too."""
    nodes = []
    for kind, tensor in (("weight", weight), ("bias", bias)):
        name = f"{layer.name}_folded_{kind}"
        while hasattr(module, name):  # folded twice: from below and from above
            name += "_again"
        module.register_parameter(name, nn.Parameter(tensor.float(), requires_grad=False))
        with module.graph.inserting_before(layer):
            nodes.append(module.graph.get_attr(name))
    layer.args = (layer.args[0], *nodes, *layer.args[3:])


def _drop_unused_tensors(module: GraphModule) -> None:
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for path in [name for name, _ in [*module.named_parameters(), *module.named_buffers()] if name not in used]:
        owner, _, name = path.rpartition(".")
        delattr(module.get_submodule(owner), name)
