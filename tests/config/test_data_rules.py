"""Rules about the data: numbers are no images."""

import pytest

from pipeline.core.errors import SpaceError
from pipeline.space.files import read_space
from pipeline.space.yaml_text import parse

TABLE = "space: {data: {kind: table, path: t.csv, label: y%s}%s}"


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ("", ", model: {kind: backbone, name: resnet18}", "backbone needs images, and a table without data.image has"),
        ("", ", model: {choice: [mlp, cnn]}", "cnn needs images, and a table without data.image has numbers"),
        ("", ", augment: light", "light changes images, and a table without data.image has numbers. Set augment: none"),
        (", image_size: 32", "", "has no effect here: set data.image"),
        (", image: file, missing: median", "", "data.missing: has no effect here: leave data.image out"),
        (", image: file, ignore: [a]", "", "data.ignore: has no effect here"),
    ],
)
def test_what_does_not_go_with_a_table(data: str, more: str, message: str) -> None:
    with pytest.raises(SpaceError) as raised:
        read_space(parse(TABLE % (data, more), "f.yaml"), "f")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("", ""),
        (", missing: median, categorical: [zone], ignore: [id]", ", model: {width: {int: [8, 64]}}"),
        (", image: file, image_size: 32", ", model: cnn, augment: light"),
    ],
)
def test_what_goes_with_a_table(data: str, more: str) -> None:
    assert read_space(parse(TABLE % (data, more), "f.yaml"), "f").space is not None
