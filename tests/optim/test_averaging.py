"""The weights' moving average: its formula, and who sees which weights."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pipeline.config.training import EarlyStopping
from pipeline.config.trial import TrialConfig
from pipeline.data.image_data import ImageData
from pipeline.optim.averaging import WeightAverage
from pipeline.training.evaluation import evaluate
from pipeline.training.start import start

Configure = Callable[..., TrialConfig]
STEPS = 30


def test_at_first_an_even_mean_and_then_exponential() -> None:
    decay, seen = 0.8, torch.randn(STEPS, 6, dtype=torch.float64)
    values = torch.full((6,), 1e3, dtype=torch.float64)  # what it begins with does not weigh in
    average = WeightAverage(values, decay)
    for number, weights in enumerate(seen, 1):
        values.copy_(weights)
        average.update()
        even = min(number, 5)  # 1 - 1/5 is the decay
        expected = decay ** (number - even) * seen[:even].mean(0)
        for index in range(even, number):
            expected += (1.0 - decay) * decay ** (number - 1 - index) * seen[index]
        torch.testing.assert_close(average.averages[0], expected)
    torch.testing.assert_close(values, seen[-1], rtol=0.0, atol=0.0)


def test_it_takes_the_weights_place_for_a_while_only() -> None:
    values = torch.zeros(3)
    average = WeightAverage(values, 0.9)
    for number in (1.0, 2.0, 6.0):
        values.fill_(number)
        average.update()
    with average.in_place():
        assert values.tolist() == [3.0] * 3
    assert values.tolist() == [6.0] * 3
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert values.tolist() == [6.0] * 3
    assert average.averages[0].tolist() == [3.0] * 3


def test_statistics_are_averaged_with_the_weights() -> None:
    values, mean = torch.zeros(2), torch.zeros(3)
    average = WeightAverage(values, 0.5, [mean])
    for number in (1.0, 2.0, 6.0):
        values.fill_(number)
        mean.fill_(10.0 * number)
        average.update()
    with average.in_place():
        assert mean.tolist() == [37.5] * 3  # of 10 and 20 the mean, then half of it and half of 60
    assert mean.tolist() == [60.0] * 3


def test_weights_that_jump_are_validated_with_statistics_that_suit_their_average(
    small_data: ImageData, configure: Configure
) -> None:
    """At a rate at which each step throws the weights far, their average is the better network."""
    fast = {
        "optimizer": {"kind": "sgd", "lr": 3.0},
        "schedule": {"kind": "constant"},
        "model": {"batch_norm": "before"},
    }
    config = configure(**fast, epochs=8, batch_size=32, early_stopping={"patience": None})

    def loss(**settings: object) -> float:
        """The mean of the last epochs of some trainings: a single epoch's is chance."""
        configs = [config.replaced({"seed": seed, **settings}) for seed in range(3)]
        results = [result for config in configs for result in list(start(config, small_data).epochs)[4:]]
        return sum(result.valid_loss for result in results) / len(results)

    assert loss(ema_decay=0.98) < loss()


def _vector(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_training_goes_on_with_the_weights_themselves(small_data: ImageData, configure: Configure) -> None:
    plain = start(configure(epochs=3), small_data)
    averaged = start(configure(epochs=3, ema_decay=0.9), small_data)
    for result, other in zip(plain.epochs, averaged.epochs, strict=True):
        assert result.train_loss == other.train_loss
        assert result.valid_loss != other.valid_loss
        assert torch.equal(_vector(plain.model), _vector(averaged.model))


@pytest.mark.parametrize("batch_norm", ["none", "before"])
def test_what_is_validated_kept_and_returned_is_the_average(
    batch_norm: str, small_data: ImageData, configure: Configure
) -> None:
    stopping = EarlyStopping(monitor="valid_loss")
    model = {"batch_norm": batch_norm}
    config = configure(model=model, epochs=4, batch_size=64, ema_decay=0.9, early_stopping=stopping)
    training = start(config, small_data)
    weights: list[torch.Tensor] = []
    take_step = training.step.optimizer.step

    def step_and_note() -> None:
        take_step()
        weights.append(_vector(training.model))

    training.step.optimizer.step = step_and_note  # type: ignore[assignment, method-assign]
    results = list(training.epochs)
    best = [result for result in results if result.is_best][-1]
    assert training.evaluate(small_data.valid) == (best.valid_loss, best.valid_accuracy)
    # A law that is written down apart from the code: weights of the average, newest first.
    taken = weights[: best.epoch * (len(weights) // len(results))]
    mean = torch.stack(taken[:10]).mean(0)
    for later in taken[10:]:
        mean = 0.9 * mean + 0.1 * later
    torch.testing.assert_close(_vector(training.model), mean, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(taken[-1], mean, rtol=1e-3, atol=1e-3)
    assert evaluate(training.model, small_data.valid, training.precision)[0] == best.valid_loss
