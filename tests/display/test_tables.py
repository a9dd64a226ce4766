"""What is printed of each class."""

import io

from pipeline.display.rich_console import PlainConsole
from pipeline.display.tables import MAX_CLASSES, class_table, confusion_lines


def printed(num_classes: int) -> str:
    classes = [
        {"name": f"[b]class {i}", "images": 10, "recall": i / 100, "precision": None, "f1": i / 100}
        for i in range(num_classes)
    ]
    console = PlainConsole(file=io.StringIO(), width=120)
    console.print(class_table(classes))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_class_has_a_row() -> None:
    text = printed(3)
    assert text.splitlines()[0].strip() == "each class"
    assert [f"[b]class {i} " in text for i in range(3)] == [True] * 3
    assert "0.0200" in text


def test_of_many_classes_the_worst_are_shown() -> None:
    text = printed(MAX_CLASSES + 10)
    assert "the 30 classes with the lowest F1, of 40" in text
    assert "class 29 " in text
    assert "class 30 " not in text


def test_confusions_are_lines() -> None:
    assert list(confusion_lines([])) == []
    one = {"label": "Shirt", "predicted": "Coat", "images": 1234, "share": 0.125}
    assert list(confusion_lines([one]))[1] == "  - Shirt taken for Coat: 1,234 images, 12.5% of the class"
