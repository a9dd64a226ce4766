"""The figures of a study: what is where on them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.figures.canvas import BLUE, GRAY, ORANGE, png
from pipeline.figures.epochs import draw_learning_curves, draw_rates
from pipeline.figures.outcome import draw_confusion, draw_estimates, draw_time
from pipeline.figures.parallel import NOT_USED, draw_parallel
from pipeline.figures.trials import draw_front, draw_history, draw_slice
from pipeline.figures.values import Axis, PlottedTrial

CURVES = {"valid_accuracy": [0.5, 0.8], "lr": [0.1, 0.01]}
TRIALS = [
    PlottedTrial(0, "t000", "complete", (0.8, 10.0), {"optimizer.lr": 0.1, "optimizer.momentum": 0.9}, CURVES),
    PlottedTrial(1, "t001", "pruned", (0.7,), {"optimizer.lr": 0.01}, CURVES),
    PlottedTrial(2, "t002", "complete", (0.9, 20.0), {"optimizer.lr": 0.03}, CURVES),
    PlottedTrial(3, "t003", "failed", ()),
]
RATE = Axis("optimizer.lr", 0.01, 1.0, log=True)
MOMENTUM = Axis("optimizer.momentum", 0.0, 1.0)


def labels(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_history_has_a_mark_for_each_trial_and_the_best_so_far() -> None:
    figure = draw_history(TRIALS, "valid_accuracy", maximize=True)
    axes = figure.axes[0]
    *marks, best = axes.get_lines()
    assert [np.asarray(mark.get_xdata())[0] for mark in marks] == [0, 1, 2, 3]
    assert np.asarray(marks[3].get_ydata())[0] == axes.get_ylim()[0]
    assert np.asarray(best.get_ydata()).tolist() == [0.8, 0.9, 0.9]
    assert labels(figure) == ["complete", "pruned", "failed", "best so far"]
    assert marks[1].get_gid() == "tip:t001: pruned, 0.7"


def test_history_of_failures_has_no_values_on_its_axis() -> None:
    figure = draw_history(TRIALS[3:], "valid_accuracy", maximize=True)
    assert not figure.axes[0].get_yticks().size
    assert labels(figure) == ["failed"]


def test_a_trial_without_a_setting_passes_below_its_axis() -> None:
    figure = draw_parallel(TRIALS[:3], [RATE, MOMENTUM], "valid_accuracy", maximize=True)
    lines = {line.get_gid(): line for line in figure.axes[0].get_lines() if line.get_gid()}
    assert len(lines) == 3
    best, pruned = lines["tip:t002: complete, 0.9, 20"], lines["tip:t001: pruned, 0.7"]
    rate, momentum, value = np.asarray(best.get_ydata())
    assert rate == pytest.approx(0.2386, abs=1e-4)
    assert momentum == pytest.approx(NOT_USED, abs=0.03)
    assert value > 0.9
    assert best.get_linewidth() > pruned.get_linewidth()
    assert pruned.get_color() == GRAY
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("not used") == 1
    assert {"optimizer.lr", "optimizer.momentum", "valid_accuracy"} <= set(texts)


def test_where_less_is_better_the_least_value_is_the_best() -> None:
    figure = draw_parallel(TRIALS[:3], [RATE], "valid_loss", maximize=False)
    thickest = max(figure.axes[0].get_lines(), key=lambda line: line.get_linewidth())
    assert str(thickest.get_gid()).startswith("tip:t000")


def test_a_slice_is_on_the_scale_of_its_setting() -> None:
    axes = draw_slice(TRIALS[:3], RATE, (0.75, 1.0)).axes[0]
    assert axes.get_xscale() == "log"
    points = {tuple(point) for line in axes.get_lines() for point in np.asarray(line.get_xydata()).tolist()}
    assert points == {(0.1, 0.8), (0.03, 0.9), (0.01, 0.75)}  # the last one lies on the edge


def test_the_front_is_marked() -> None:
    axes = draw_front([TRIALS[0], TRIALS[2]], {2}, (1, "num_parameters"), (0, "valid_accuracy")).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("num_parameters", "valid_accuracy")
    assert [(line.get_xdata()[0], line.get_color()) for line in axes.get_lines()[:2]] == [(10.0, BLUE), (20.0, ORANGE)]


def test_the_best_learning_curves_are_named_best_first() -> None:
    figure = draw_learning_curves(TRIALS[:3], [TRIALS[2], TRIALS[0]], "valid_accuracy", maximize=True)
    assert labels(figure) == ["t002", "t000"]
    assert [line.get_color() for line in figure.axes[0].get_lines()] == [BLUE, GRAY, ORANGE]


@pytest.mark.parametrize(("rates", "scale"), [([0.1, 0.001], "log"), ([0.1, 0.1], "linear"), ([0.1, 0.0], "linear")])
def test_rates_over_decades_are_on_a_logarithmic_scale(rates: list[float], scale: str) -> None:
    figure = draw_rates([PlottedTrial(0, "t000", "complete", (0.5,), curves={"lr": rates})])
    assert figure.axes[0].get_yscale() == scale
    png(figure)


def test_the_estimate_that_counts_is_orange() -> None:
    rows = [("study", 0.9, None, False), ("test", 0.88, (0.87, 0.89), True)]
    axes = draw_estimates(rows, "accuracy").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["study", "test"]
    assert [line.get_color() for line in axes.get_lines()] == [BLUE, ORANGE, ORANGE]


def test_confusion_has_true_classes_downward_and_counts_in_its_cells() -> None:
    axes = draw_confusion([[8, 2], [0, 5]], ["cat", "dog"]).axes[0]
    assert axes.yaxis_inverted()
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0.5, 0.5), "8"),
        ((1.5, 0.5), "2"),
        ((1.5, 1.5), "5"),
    }


def test_many_classes_have_no_numbers_and_no_names() -> None:
    axes = draw_confusion([[1] * 50] * 50, [f"class {index}" for index in range(50)]).axes[0]
    assert not axes.texts
    assert "class 0" not in [label.get_text() for label in axes.get_xticklabels()]


def test_what_pruning_spared_is_a_bar_of_its_own() -> None:
    spared = draw_time([("complete", 3.0), ("pruned", 1.0)], 2.5, "min").axes[0]
    assert [label.get_text() for label in spared.get_yticklabels()] == ["complete", "pruned", "saved by pruning"]
    assert [text.get_text() for text in spared.texts] == ["3.0", "1.0", "2.5"]
    assert len(draw_time([("complete", 3.0)], 0.0, "min").axes[0].get_yticklabels()) == 1
