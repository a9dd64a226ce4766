"""What is seen of data, before anything is decided."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.planning.facts import look


def folder(root: Path, counts: dict[str, int], *, part: str = "train", size: tuple[int, int] = (40, 30)) -> Path:
    for name, count in counts.items():
        (root / part / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, (number, 0, 0)).save(root / part / name / f"{number}.png")
    return root


def test_a_folder_is_counted_and_measured_without_its_test_images(tmp_path: Path) -> None:
    folder(tmp_path, {"rose": 5, "tulip": 3})
    folder(tmp_path, {"rose": 2, "tulip": 1}, part="valid")
    folder(tmp_path, {"rose": 9, "tulip": 9}, part="test", size=(999, 999))
    facts = look(str(tmp_path))
    assert facts.classes == {"rose": 7, "tulip": 4}
    assert (facts.width, facts.height, facts.side, facts.channels) == (40, 30, 30, 3)
    assert facts.rarest == ("tulip", 4)
    assert facts.majority == pytest.approx(7 / 11)


def test_arrays_are_loaded(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 9, 7), dtype=np.uint8)
    images[30:] = images[:10]
    np.savez(tmp_path / "own.npz", x_train=images, y_train=np.arange(40) % 2)
    facts = look(str(tmp_path / "own.npz"))
    assert (facts.num_images, facts.height, facts.width, facts.channels) == (40, 9, 7, 1)
    assert facts.num_repeated is not None


def test_a_built_in_data_set_goes_by_its_name() -> None:
    facts = look("digits")
    assert (len(facts.classes), facts.side) == (10, 8)


def test_what_is_no_data_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder.*Did you mean digits"):
        look("digit")
    (tmp_path / "labels.txt").write_text("x")
    with pytest.raises(DataError, match=r"must be a folder of images or an \.npz file"):
        look(str(tmp_path / "labels.txt"))
    folder(tmp_path, {"rose": 2, "tulip": 2})
    (tmp_path / "train" / "rose" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png: cannot be read as an image"):
        look(str(tmp_path))
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="empty: a class without images"):
        look(str(tmp_path))
