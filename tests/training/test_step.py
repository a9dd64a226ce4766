"""The optimizer's step: clipping as it is reported and as it acts, and max-norm."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from pipeline import training_config as configs
from pipeline.config import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.training import start
from pipeline.training_config import ClippingConfig

Configure = Callable[..., TrialConfig]


@pytest.mark.parametrize(
    ("clip", "share"),
    [
        (configs.NoClipping(), 0.0),
        (configs.ClipNorm(threshold=1e6), 0.0),
        (configs.ClipNorm(threshold=1e-6), 1.0),
        (configs.ClipValue(threshold=1e-6), 1.0),
        (configs.ClipTensorNorm(threshold=1e-6), 1.0),
    ],
)
def test_clipping_is_reported(
    clip: ClippingConfig, share: float, small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    (result,) = start(configure(**standstill, epochs=1, clip=clip), small_data).epochs
    (free,) = start(configure(**standstill, epochs=1), small_data).epochs
    assert result.clipped == share
    assert result.gradient_norm == pytest.approx(free.gradient_norm, rel=1e-5)
    assert free.gradient_norm > 0.1


def test_the_share_of_clipped_steps_counts_steps(
    small_data: ImageData, configure: Configure, standstill: dict[str, Any]
) -> None:
    (free,) = start(configure(**standstill, epochs=1), small_data).epochs
    clip = configs.ClipNorm(threshold=free.gradient_norm)
    (result,) = start(configure(**standstill, epochs=1, clip=clip), small_data).epochs
    assert 0.0 < result.clipped < 1.0
    assert result.clipped * 8 == round(result.clipped * 8)


def test_the_step_is_made_with_the_clipped_gradient(small_data: ImageData, configure: Configure) -> None:
    config = configure(
        optimizer=configs.Sgd(lr=1.0, momentum=0.0),
        schedule=configs.Constant(),
        clip=configs.ClipNorm(threshold=0.01),
        batch_size=len(small_data.train),
        epochs=1,
    )
    training = start(config, small_data)
    before = nn.utils.parameters_to_vector(training.model.parameters()).detach().clone()
    list(training.epochs)
    moved = nn.utils.parameters_to_vector(training.model.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_max_norm_bounds_every_unit(small_data: ImageData, configure: Configure) -> None:
    def longest(**settings: float) -> list[float]:
        training = start(configure(epochs=2, **settings), small_data)
        assert len(list(training.epochs)) == 2
        linears = [layer for layer in training.model.modules() if isinstance(layer, nn.Linear)]
        return [linear.weight.norm(dim=1).max().item() for linear in linears]

    assert min(longest()) > 0.8
    assert max(longest(max_norm=0.8)) == pytest.approx(0.8, rel=1e-4)
