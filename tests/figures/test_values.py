"""What the figures of a study are drawn from: places on axes, and the range that is shown."""

import itertools
import math

import pytest

from pipeline.figures.values import Axis, PlottedTrial, best_so_far, focus, spread


def trial(number: int, value: float | None, outcome: str = "complete") -> PlottedTrial:
    values = () if value is None else (value,)
    return PlottedTrial(number, f"t{number:03d}", outcome, values)  # type: ignore[arg-type]


def test_a_logarithmic_axis_has_its_geometric_mean_in_the_middle() -> None:
    axis = Axis("optimizer.lr", 1e-4, 1e-2, log=True)
    assert [axis.share(value) for value in (1e-4, 1e-3, 1e-2)] == pytest.approx([0.0, 0.5, 1.0])
    assert [label for _, label in axis.ticks()] == ["0.0001", "0.001", "0.01"]


def test_words_have_places_in_their_order() -> None:
    axis = Axis("model.activation", 0.0, 2.0, options=("relu", "elu", "selu"))
    assert [axis.share(word) for word in axis.options] == [0.0, 0.5, 1.0]
    assert axis.ticks()[1] == (1.0, "elu")


def test_a_choice_of_numbers_is_one_of_words() -> None:
    assert Axis("batch_size", 0.0, 1.0, options=("64", "128")).share(128) == 1.0


def test_whole_numbers_have_a_whole_one_in_the_middle() -> None:
    assert [place for place, _ in Axis("patience", 1, 4, whole=True).ticks()] == [1, 2, 4]


def test_an_axis_with_one_value_has_it_in_the_middle() -> None:
    axis = Axis("epochs", 5, 5)
    assert axis.share(5) == 0.5
    assert axis.ticks() == [(5, "5")]


@pytest.mark.parametrize(
    ("name", "short"),
    [("optimizer.kind", "optimizer"), ("model.dropout.rate", "dropout.rate"), ("batch_size", "batch_size")],
)
def test_a_kind_is_called_by_its_block(name: str, short: str) -> None:
    assert Axis(name, 0, 1).short_name == short


def test_a_few_bad_values_do_not_press_the_others_together() -> None:
    low, high = focus([0.1, *(0.80 + 0.01 * index for index in range(10))], maximize=True)
    assert 0.75 < low < 0.81
    assert high > 0.89


def test_all_values_are_shown_where_none_is_far() -> None:
    low, high = focus([0.5, 0.6, 0.7, 0.8], maximize=True)
    assert low < 0.5
    assert high > 0.8


def test_where_less_is_better_the_large_values_are_the_bad_ones() -> None:
    low, high = focus([9.0, *(0.3 + 0.01 * index for index in range(10))], maximize=False)
    assert low < 0.3
    assert 0.37 < high < 0.5


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0])
def test_equal_values_still_have_a_range(value: float) -> None:
    low, high = focus([value, value], maximize=True)
    assert low < value < high


def test_the_best_so_far_is_that_of_complete_trials() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9, "pruned"), trial(2, 0.4), trial(3, None, "failed"), trial(4, 0.6)]
    assert best_so_far(trials, maximize=True) == [(0, 0.5), (2, 0.5), (4, 0.6)]
    assert best_so_far(trials, maximize=False) == [(0, 0.5), (2, 0.4), (4, 0.4)]


def test_a_value_that_is_no_number_is_none() -> None:
    assert trial(0, math.nan, "diverged").value is None


def test_offsets_fill_their_interval() -> None:
    offsets = sorted(spread(number) for number in range(100))
    assert -0.5 <= offsets[0] < -0.48
    assert 0.48 < offsets[-1] <= 0.5
    assert max(after - before for before, after in itertools.pairwise(offsets)) < 0.03
