"""Flat parameters: the model works as before, on views."""

import copy

import torch
from torch import nn

from pipeline.models.mlp import Mlp
from pipeline.training.flat import FlatParameters


def _model() -> nn.Module:
    return Mlp(9, 4, widths=[8, 7], activation="prelu", batch_norm="after")


def test_parameters_keep_their_values_and_become_views() -> None:
    model = _model()
    before = copy.deepcopy(model.state_dict())
    parameters = FlatParameters(model)
    torch.testing.assert_close(model.state_dict(), before, rtol=0.0, atol=0.0)
    for part in (parameters.decayed, parameters.undecayed):
        assert part is not None
        part.data.fill_(3.0)
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
    assert parameters.decayed is not None
    model.load_state_dict(other.state_dict())
    matrices = [parameter.detach().reshape(-1) for parameter in other.parameters() if parameter.ndim > 1]
    torch.testing.assert_close(parameters.decayed.data, torch.cat(matrices))


def test_frozen_parameters_are_left_alone() -> None:
    model = _model()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    parameters = FlatParameters(model)
    assert (parameters.decayed, parameters.undecayed) == (None, None)
    assert parameters.gradient.numel() == 0
