"""How many images each class has, in words, and when accuracy misleads."""

import pytest

from pipeline.records.classes import ClassCounts


def test_a_few_classes_are_all_named() -> None:
    counts = ClassCounts(("ill", "well"), (500, 9500), (50, 950))
    assert counts.text == "images to train + validate on, by class: ill 500 + 50, well 9,500 + 950"


def test_of_many_classes_the_ends_are_named() -> None:
    names = tuple(map(str, range(100)))
    counts = ClassCounts(names, tuple(range(1, 101)), (1,) * 100)
    assert counts.text.endswith("by class: 0 1 + 1 (the rarest) to 99 100 + 1 (the most frequent)")


def test_equal_counts_are_said_once() -> None:
    assert ClassCounts(("a", "b"), (9, 9), (1, 1)).text == "of each class 9 + 1 images to train + validate on"
    assert ClassCounts().text == ""


@pytest.mark.parametrize(("valid", "warns"), [((81, 19), True), ((19, 81), True), ((80, 20), False), ((0, 0), False)])
def test_accuracy_misleads_where_one_class_has_more_than_four_fifths(valid: tuple[int, int], *, warns: bool) -> None:
    warning = ClassCounts(("a", "b"), (5, 5), valid).warning
    assert (warning is not None) == warns
    if warning is not None:
        assert warning.startswith(
            f"warning: 81.0% of the validation images are of class {'a' if valid[0] > 50 else 'b'},"
        )
        for remedy in ("study.metrics", "loss.class_weights: balanced", "data.sampling: balanced"):
            assert remedy in warning
