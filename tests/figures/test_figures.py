"""The figures: what stands on their axes, that they can be drawn, and where they may go."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.core.errors import DnntuneError
from pipeline.figures.canvas import BLUE, ENDINGS, ORANGE, check_figure_path, new_figure, png, save
from pipeline.figures.curves import draw_differences, draw_importances, draw_range_test
from pipeline.figures.gradient_flow import DECADES, MAX_LABELS, draw_gradient_flow

BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF"}


def drawn(figure: Figure) -> tuple[int, int]:
    """Renders a figure as PNG; returns its width and height in pixels."""
    content = png(figure)
    assert content.startswith(BEGINNINGS[".png"])
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def y_labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def x_labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_a_range_test_is_drawn_over_the_rate() -> None:
    rates, losses = [1e-4, 1e-3, 1e-2, 1e-1, 1.0], [2.3, 2.2, 1.0, 0.5, 400.0]
    figure = draw_range_test(rates, losses, (1e-3, 1e-1), "range test, sgd")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "training loss, smoothed (nats)")
    assert axes.get_xscale() == "log"
    assert axes.get_title(loc="left") == "range test, sgd"
    (line,) = axes.get_lines()
    assert np.asarray(line.get_xdata()).tolist() == rates
    assert np.asarray(line.get_ydata()).tolist() == losses
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["suggested: 0.001 to 0.1"]
    # a loss that blows up does not flatten the rest
    low, high = axes.get_ylim()
    assert low < 0.5
    assert 2.3 < high < 4.0
    assert drawn(figure) == (640, 400)


def test_differences_have_a_row_for_each_label() -> None:
    labels = ["clip: none", "max_norm: none", "dropout: none"]
    differences = [[-0.1, -0.2], [0.01, -0.01], [0.05]]
    intervals = [(-0.25, -0.05), (-0.1, 0.1), None]
    figure = draw_differences(labels, differences, intervals, "what is lost", "accuracy")
    axes = figure.axes[0]
    assert y_labels(figure) == labels
    assert axes.get_xlabel().startswith("accuracy\n")
    assert axes.get_title(loc="left") == "what is lost"
    assert axes.yaxis_inverted()  # the first row is at the top
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    means = [line for line in axes.get_lines() if line.get_marker() == "D"]
    assert [np.asarray(line.get_xdata()).tolist() for line in dots] == differences
    assert [np.asarray(line.get_xdata())[0] for line in means] == pytest.approx([-0.15, 0.0, 0.05])
    # only the first interval leaves out zero, and the last row has none
    assert [line.get_color() for line in means] == [ORANGE, BLUE, BLUE]
    bars = [tuple(np.asarray(line.get_xdata()).tolist()) for line in axes.get_lines() if line.get_linewidth() == 2]
    assert bars == intervals[:2]
    assert drawn(figure)[0] == 720


def test_more_rows_make_a_higher_figure() -> None:
    heights = []
    for count in (1, 10):
        figure = draw_differences(["x"] * count, [[0.1, 0.2]] * count, [(0.0, 0.3)] * count, "", "accuracy")
        heights.append(drawn(figure)[1])
    assert heights[1] - heights[0] == pytest.approx(9 * 42, abs=2)


def test_importances_stand_beside_each_other() -> None:
    rows = [("optimizer.kind", 0.6, 0.5), ("optimizer.sgd.lr", 0.3, None), ("epochs", 0.1, 0.2)]
    figure = draw_importances(rows, "digits: 60 complete trials")
    axes = figure.axes[0]
    assert y_labels(figure) == ["optimizer.kind", "optimizer.sgd.lr", "epochs"]
    assert axes.get_xlabel() == "importance"
    assert axes.yaxis_inverted()
    ped_anova, fanova = axes.containers
    assert (ped_anova.get_label(), fanova.get_label()) == ("PED-ANOVA", "fANOVA")
    assert [bar.get_width() for bar in ped_anova] == [0.6, 0.3, 0.1]
    assert [bar.get_width() for bar in fanova] == [0.5, 0.2]  # none where there is none
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in fanova] == [0, 2]
    drawn(figure)


def test_importances_may_lack_one_measure_altogether() -> None:
    figure = draw_importances([("epochs", 1.0, None)], "")
    assert [len(bars) for bars in figure.axes[0].containers] == [1, 0]
    drawn(figure)


def test_gradient_flow_is_layers_by_epochs() -> None:
    epochs = {1: [1e-3, 1e-2, 1.0], 3: [1e-4, 1e-2, 10.0]}
    figure = draw_gradient_flow(epochs, "t001 relu 2x100 sgd\nhealthy: all is well")
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "layer")
    assert y_labels(figure) == ["1", "2", "output"]
    assert x_labels(figure) == ["1", "3"]
    assert axes.get_title(loc="left") == "t001 relu 2x100 sgd\nhealthy: all is well"
    assert bar.get_ylabel() == "log10 of the gradient's norm"
    (image,) = axes.get_images()
    values = image.get_array()
    assert values is not None
    assert values.tolist() == [pytest.approx([-3.0, -4.0]), pytest.approx([-2.0, -2.0]), pytest.approx([0.0, 1.0])]
    assert image.get_clim() == pytest.approx((-4.0, 1.0))
    drawn(figure)


def test_gradients_that_are_gone_are_shown_at_the_floor() -> None:
    figure = draw_gradient_flow({1: [0.0, 1e-30, 1.0]}, "")
    (image,) = figure.axes[0].get_images()
    assert image.get_clim() == (-float(DECADES), 0.0)
    drawn(figure)


def test_all_gradients_may_be_zero() -> None:
    figure = draw_gradient_flow({1: [0.0, 0.0, 0.0], 2: [0.0, 0.0, 0.0]}, "")
    low, high = figure.axes[0].get_images()[0].get_clim()
    assert low < high
    drawn(figure)


def test_equal_gradients_still_have_a_scale() -> None:
    low, high = draw_gradient_flow({1: [1.0, 1.0]}, "").axes[0].get_images()[0].get_clim()
    assert (low, high) == (-1.0, 0.0)


def test_a_single_layer_is_the_output() -> None:
    figure = draw_gradient_flow({1: [0.5]}, "")
    assert y_labels(figure) == ["output"]
    drawn(figure)


def test_where_only_upper_layers_learned_nothing_is_below_them() -> None:
    figure = draw_gradient_flow({1: [1e-2], 2: [1e-4, 1e-3, 1.0]}, "")
    assert y_labels(figure) == ["1", "2", "output"]
    (image,) = figure.axes[0].get_images()
    values = image.get_array()
    assert isinstance(values, np.ma.MaskedArray)
    assert values.mask.tolist() == [[True, False], [True, False], [False, False]]
    assert values[2].tolist() == pytest.approx([-2.0, 0.0])
    assert image.get_clim() == pytest.approx((-4.0, 0.0))
    drawn(figure)


def test_labels_stay_few_where_there_are_many_layers_and_epochs() -> None:
    epochs = {number: [10.0 ** (-layer / 10) for layer in range(100)] for number in range(1, 51)}
    figure = draw_gradient_flow(epochs, "t003 relu 99x100 adamw")
    assert len(y_labels(figure)) <= MAX_LABELS
    assert len(x_labels(figure)) <= MAX_LABELS
    assert y_labels(figure)[:2] == ["1", "11"]
    assert x_labels(figure)[:2] == ["1", "6"]
    (image,) = figure.axes[0].get_images()
    assert image.get_size() == (100, 50)
    assert drawn(figure)[1] <= 700


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_ending_says_the_format_and_folders_are_made(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "new" / "folder" / f"figure{ending}"
    figure, axes = new_figure(2.0, 1.0)
    axes.plot([0, 1], [0, 1])
    save(figure, file)
    assert file.read_bytes().startswith(BEGINNINGS[ending])


@pytest.mark.parametrize("name", ["figure.jpeg", "figure", "figure.png.txt", ".png"])
def test_an_unknown_ending_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    file = tmp_path / "new" / name
    figure, _ = new_figure(2.0, 1.0)
    with pytest.raises(DnntuneError, match=r"ends in \.png, \.svg, \.pdf; got .*") as caught:
        save(figure, file)
    assert str(file) in str(caught.value)
    with pytest.raises(DnntuneError):
        check_figure_path(file)
    assert not file.parent.exists()


def test_a_place_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    figure, _ = new_figure(2.0, 1.0)
    with pytest.raises(DnntuneError, match="cannot be written"):
        save(figure, tmp_path / "file" / "figure.png")


def test_figures_do_not_pile_up() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw_gradient_flow({1: [1.0, 1.0]}, "")
    assert plt.get_fignums() == before


def test_a_drawing_that_fails_leaves_the_old_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, _ = new_figure(2.0, 1.0)
    file = tmp_path / "figure.png"
    file.write_bytes(b"old")

    def no_space(target: Any, **_: Any) -> None:
        part = target.open("wb") if isinstance(target, Path) else target
        part.write(b"half")
        part.flush()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", no_space)
    with pytest.raises(DnntuneError, match="cannot be written: No space left on device"):
        save(figure, file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
