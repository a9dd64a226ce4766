"""Gradient clipping: the lecture's numbers, and what is reported."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import training as configs
from pipeline.config.kinds import kind_name
from pipeline.config.schema import kinds_of
from pipeline.config.training import ClippingConfig
from pipeline.optim.clipping import CLIPS, build_clip, limit_row_norms
from pipeline.optim.parameters import FlatParameters

KINDS = tuple(kinds_of(ClippingConfig).values())


def _clipped(config: ClippingConfig, values: Sequence[Sequence[float]]) -> tuple[list[list[float]], float, bool]:
    parameters = _with_gradients([torch.tensor(row) for row in values])
    norm, clipped = build_clip(config, parameters)()
    assert norm.ndim == clipped.ndim == 0
    return [gradient.tolist() for gradient in parameters.gradients_by_tensor], norm.item(), bool(clipped)


def _with_gradients(gradients: Sequence[Tensor]) -> FlatParameters:
    parameters = FlatParameters(nn.ParameterList([torch.zeros_like(gradient) for gradient in gradients]))
    for ours, theirs in zip(parameters.gradients_by_tensor, gradients, strict=True):
        ours.copy_(theirs)
    return parameters


def test_table_and_schema_have_the_same_kinds() -> None:
    assert set(CLIPS) == set(map(kind_name, KINDS))


@pytest.mark.parametrize(
    ("config", "values", "expected"),
    [
        (configs.ClipValue(), [[0.9, 100.0]], [[0.9, 1.0]]),
        (configs.ClipValue(threshold=0.5), [[-3.0, 0.4], [0.6, -0.5]], [[-0.5, 0.4], [0.5, -0.5]]),
        (configs.ClipNorm(), [[0.9, 100.0]], [[0.00899964, 0.9999595]]),
        (configs.ClipNorm(), [[3.0, 4.0], [0.0, 12.0]], [[3 / 13, 4 / 13], [0.0, 12 / 13]]),
        (configs.ClipNorm(threshold=6.5), [[3.0, 4.0], [0.0, 12.0]], [[1.5, 2.0], [0.0, 6.0]]),
        (configs.ClipTensorNorm(), [[3.0, 4.0], [0.0, 12.0]], [[0.6, 0.8], [0.0, 1.0]]),
        (configs.ClipTensorNorm(threshold=6.0), [[3.0, 4.0], [0.0, 12.0]], [[3.0, 4.0], [0.0, 6.0]]),
    ],
)
def test_acts(config: ClippingConfig, values: list[list[float]], expected: list[list[float]]) -> None:
    gradients, norm, clipped = _clipped(config, values)
    for gradient, row in zip(gradients, expected, strict=True):
        assert gradient == pytest.approx(row, rel=2e-6)
    assert clipped
    assert norm == pytest.approx(sum(value**2 for row in values for value in row) ** 0.5)


@pytest.mark.parametrize(
    "config",
    [
        configs.NoClipping(),
        configs.ClipValue(threshold=12.5),
        configs.ClipNorm(threshold=13.5),
        configs.ClipTensorNorm(threshold=12.5),
    ],
)
def test_leaves_a_small_gradient_alone(config: ClippingConfig) -> None:
    values = [[3.0, -4.0], [0.0, -12.0]]
    clipped, norm, changed = _clipped(config, values)
    assert (clipped, changed) == (values, False)
    assert norm == pytest.approx(13.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_of_zero_stays_zero(kind: type[ClippingConfig]) -> None:
    assert _clipped(kind(), [[0.0, 0.0], [0.0]]) == ([[0.0, 0.0], [0.0]], 0.0, False)


@pytest.mark.parametrize("threshold", [0.01, 1.0, 100.0])
def test_norm_clipping_is_pytorchs(threshold: float) -> None:
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((30, 20), (30,), (4, 30))]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    ours = _with_gradients([parameter.grad for parameter in parameters if parameter.grad is not None])
    norm, clipped = build_clip(configs.ClipNorm(threshold=threshold), ours)()
    expected = nn.utils.clip_grad_norm_(parameters, threshold)
    torch.testing.assert_close(norm, expected)
    assert bool(clipped) == (expected.item() > threshold)
    for gradient, parameter in zip(ours.gradients_by_tensor, parameters, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def _rows() -> list[Tensor]:
    return [torch.tensor([[3.0, 4.0], [0.3, -0.4]]), torch.tensor([[0.0, -10.0, 0.0], [2.0, 0.0, 0.0]])]


def test_rows_longer_than_the_limit_are_scaled_back() -> None:
    first, second = _rows()
    limit_row_norms([first, second], 2.0)
    torch.testing.assert_close(first, torch.tensor([[1.2, 1.6], [0.3, -0.4]]))
    torch.testing.assert_close(second, torch.tensor([[0.0, -2.0, 0.0], [2.0, 0.0, 0.0]]))


def test_limiting_reaches_the_parameter_itself() -> None:
    layer = nn.Linear(50, 20)
    nn.init.normal_(layer.weight)
    limit_row_norms(FlatParameters(layer).weights, 1.5)
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.full((20,), 1.5))
