"""Flat parameters: the model works as before, on views."""

import copy

import torch
from torch import nn

from pipeline.models.mlp import Mlp
from pipeline.optim.parameters import FlatParameters


def _model() -> nn.Module:
    return Mlp(9, 4, widths=[8, 7], activation="prelu", batch_norm="after")


def test_parameters_keep_their_values_and_become_views() -> None:
    model = _model()
    before = copy.deepcopy(model.state_dict())
    parameters = FlatParameters(model)
    torch.testing.assert_close(model.state_dict(), before, rtol=0.0, atol=0.0)
    assert [group.decays for group in parameters.groups] == [True, False]
    for group in parameters.groups:
        group.values.data.fill_(3.0)
    assert all(bool((parameter == 3.0).all()) for parameter in model.parameters())


def test_gradients_are_the_ones_of_the_model_itself() -> None:
    model, images = _model(), torch.randn(6, 1, 3, 3)
    plain = copy.deepcopy(model)
    parameters = FlatParameters(model)
    for _ in range(2):  # the second time they are zeroed, and not added to
        parameters.gradient.zero_()
        model(images).square().sum().backward()
    plain(images).square().sum().backward()
    plain.zero_grad()
    plain(images).square().sum().backward()
    for ours, theirs in zip(parameters.gradients_by_tensor, plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.grad)
    assert parameters.gradient.numel() == sum(parameter.numel() for parameter in plain.parameters())
    torch.testing.assert_close(
        parameters.gradient.norm(), torch.stack([g.norm() for g in parameters.gradients_by_tensor]).norm()
    )


def test_loading_a_state_changes_the_values_in_place() -> None:
    model, other = _model(), _model()
    parameters = FlatParameters(model)
    model.load_state_dict(other.state_dict())
    matrices = [parameter.detach().reshape(-1) for parameter in other.parameters() if parameter.ndim > 1]
    torch.testing.assert_close(parameters.groups[0].values.data, torch.cat(matrices))


def test_frozen_parameters_are_left_alone() -> None:
    model = _model()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    parameters = FlatParameters(model)
    assert parameters.groups == ()
    assert parameters.gradient.numel() == 0


def test_parts_are_ordered_by_rate_and_then_by_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4), nn.Linear(4, 1))
    before = copy.deepcopy(model.state_dict())
    factors = {"0.weight": 0.1, "0.bias": 0.1, "1.weight": 0.5, "1.bias": 0.1}
    parameters = FlatParameters(model, factors)
    rates = [(group.lr_factor, group.decays, group.values.numel()) for group in parameters.groups]
    assert rates == [(1.0, True, 4), (1.0, False, 1), (0.5, True, 8), (0.1, True, 6), (0.1, False, 2 + 4)]
    torch.testing.assert_close(model.state_dict(), before, rtol=0.0, atol=0.0)
    names = (["2.weight"], ["2.bias"], ["1.weight"], ["0.weight"], ["0.bias", "1.bias"])
    for number, (group, members) in enumerate(zip(parameters.groups, names, strict=True), 1):
        group.values.data.fill_(number)
        assert all(bool((model.get_parameter(name) == number).all()) for name in members)
    assert torch.equal(parameters.values, torch.cat([group.values.data for group in parameters.groups]))
    model(torch.ones(1, 3)).sum().backward()
    gradients = torch.cat([model.get_parameter(name).grad.flatten() for group in names for name in group])
    torch.testing.assert_close(parameters.gradient, gradients)
    assert parameters.gradient.data_ptr() == model.get_parameter("2.weight").grad.data_ptr()


def test_channels_last_kernels_keep_their_memory_format() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 1), nn.Conv2d(4, 4, 3, groups=4))
    model.to(memory_format=torch.channels_last)
    plain, images = copy.deepcopy(model), torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    parameters = FlatParameters(model)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        kernels = [tensor for tensor in (ours, ours.grad) if tensor.ndim == 4]
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=0.0)
    for network in (model, plain):
        network(images).square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(
        parameters.gradient.norm(), torch.cat([p.grad.flatten() for p in plain.parameters()]).norm()
    )
    parameters.values.sub_(parameters.gradient)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours, theirs - theirs.grad)
