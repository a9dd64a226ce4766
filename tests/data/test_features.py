"""Cached features in the images' place: the right row of the right view."""

from dataclasses import replace

import pytest
import torch

from pipeline.data.features import LabeledFeatures
from pipeline.data.image_data import VALUES_PER_CHUNK


@pytest.fixture
def features() -> LabeledFeatures:
    """Five of seven rows, in no order; each value tells its view, its row and its place."""
    views = tuple(100.0 * view + torch.arange(7.0)[:, None] + torch.tensor([0.0, 0.25, 0.5]) for view in range(3))
    return LabeledFeatures(views, torch.tensor([6, 0, 3, 2, 5]), torch.tensor([1, 0, 1, 1, 0]))


def test_a_batch_has_the_rows_asked_for(features: LabeledFeatures) -> None:
    one_view = replace(features, views=features.views[:1])
    inputs, labels = one_view.batch(torch.tensor([4, 0, 0]))
    assert inputs.tolist() == [[5.0, 5.25, 5.5], [6.0, 6.25, 6.5], [6.0, 6.25, 6.5]]
    assert labels.tolist() == [0, 1, 1]
    assert len(one_view) == 5


def test_one_view_draws_nothing(features: LabeledFeatures) -> None:
    """The cache would else change what is drawn for dropout."""
    state = torch.get_rng_state()
    replace(features, views=features.views[:1]).batch(torch.tensor([1]))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_is_of_one_view_and_all_are_drawn(features: LabeledFeatures) -> None:
    torch.manual_seed(0)
    drawn = []
    for _ in range(60):
        inputs, labels = features.batch(torch.tensor([2, 1]))
        (view,) = {int(value) // 100 for value in inputs[:, 0].tolist()}
        drawn.append(view)
        assert (inputs - 100.0 * view).tolist() == [[3.0, 3.25, 3.5], [0.0, 0.25, 0.5]]
        assert labels.tolist() == [1, 0]
    assert all(10 <= drawn.count(view) <= 30 for view in range(3))


def test_a_slice_is_of_the_first_view(features: LabeledFeatures) -> None:
    for _ in range(20):
        inputs, labels = features.slice(1, 4)
        assert inputs[:, 0].tolist() == [0.0, 3.0, 2.0]
        assert labels.tolist() == [0, 1, 1]
    assert features.slice(3, 99)[0][:, 0].tolist() == [2.0, 5.0]


def test_half_precision_becomes_single(features: LabeledFeatures) -> None:
    half = replace(features, views=(features.views[0].half(),))
    assert half.batch(torch.tensor([0]))[0].dtype == half.slice(0, 2)[0].dtype == torch.float32
    assert half.batch(torch.tensor([0]))[0].tolist() == [[6.0, 6.25, 6.5]]


@pytest.mark.parametrize(("shape", "expected"), [((1024,), 2048), ((64, 16, 16), 128), ((3, 1024, 1024), 1)])
def test_chunks_are_of_about_the_same_number_of_values(shape: tuple[int, ...], expected: int) -> None:
    assert VALUES_PER_CHUNK["cpu"] == 2**21
    view = torch.zeros(1).expand(2, *shape)
    assert LabeledFeatures((view,), torch.arange(2), torch.zeros(2, dtype=torch.int64)).chunk_size == expected


def test_images_cannot_be_augmented_any_more(features: LabeledFeatures) -> None:
    with pytest.raises(AssertionError, match="augmentation comes before the cache"):
        features.batch(torch.tensor([0]), lambda images: images)
