"""What a space may say about folds."""

import pytest

from pipeline.core.errors import SpaceError
from pipeline.space.files import SpaceFile, read_space
from pipeline.space.yaml_text import parse


def read(data: str, study: str = "") -> SpaceFile:
    return read_space(parse(f"study: {{{study}}}\nspace: {{data: {{kind: digits, {data}}}}}", "f.yaml"), "f")


def test_folds_are_a_setting_of_the_data() -> None:
    config = next(read("folds: 5").space.boundary_configs([]))
    assert (config.data.folds, config.data.num_folds) == (5, 5)
    read("folds: null, valid_fraction: 0.3", "pruner: patient")


@pytest.mark.parametrize(
    ("data", "study", "expected"),
    [
        (
            "folds: {int: [2, 5]}",
            "",
            "f.yaml:2: data.folds: the validation images must be the same in all trials of a study, or their values do "
            "not compare; got a free parameter. Give it one value",
        ),
        ("folds: 0", "", "data.folds: must be greater than or equal to 1"),
        ("folds: 50", "", "data.folds: must be less than or equal to 20"),
        (
            "folds: 5, max_train_images: 100",
            "",
            "data.folds: folds use every training image, so that each is validated on once; got max_train_images 100 "
            "with folds 5. Leave one of them out",
        ),
        (
            "folds: 5, valid_fraction: 0.2",
            "",
            "data.valid_fraction: has no effect here: with data.folds each fold is validated on in its turn: leave "
            "data.folds out, or leave it out",
        ),
        (
            "folds: 5",
            "pruner: {kind: median, patience: 3}",
            "study.pruner: patience counts epochs, and with data.folds a pruner sees a value for each fold; got "
            "median. Leave patience out, or take median; early_stopping.patience ends the training of each fold",
        ),
        ("folds: 5", "pruner: patient", "with data.folds a pruner sees a value for each fold; got patient"),
    ],
)
def test_what_folds_exclude(data: str, study: str, expected: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read(data, study)
    assert expected in str(caught.value)
