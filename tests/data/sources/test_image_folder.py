"""Images in folders: what is read, how it is turned and resized, and what is said of folders that cannot be used."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from pipeline.config.data import ImageFolder
from pipeline.core.errors import DataError
from pipeline.data.image_files import MOST_NAMED
from pipeline.data.images import Images, Split
from pipeline.data.loading import load_data, load_test
from pipeline.data.sources.image_folder import read_image_folder
from pipeline.data.split import split_off_test
from tests.hostile_images import GHOSTSCRIPT, Victims

WriteImages = Callable[[Path, dict[str, int]], None]
SMALL = {"train/cat": 4, "train/dog": 6}


def _read(root: Path, part: Split = "train", image_size: int | None = 8) -> Images:
    images = read_image_folder(ImageFolder(path=str(root), image_size=image_size), part, [])
    assert images is not None
    return images


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, {"train/dog": 2, "train/ant": 1, "train/cat": 3})
    images = _read(tmp_path)
    assert images.class_names == ("ant", "cat", "dog")
    assert images.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert images.pixels.dtype == np.uint8
    assert images.pixels[:, :, 0, 0].tolist() == [[row, 2 * row, 255 - row] for row in (0, 0, 1, 2, 0, 1)]


@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        ({"valid/cat": 3, "valid/dog": 2, "test/cat": 1, "test/dog": 1}, (10, 5, 2)),
        ({"test/cat": 2, "test/dog": 1}, (8, 2, 3)),
        ({"valid/cat": 1, "valid/dog": 1}, (10, 2, None)),
        ({}, (8, 2, None)),
    ],
    ids=["all parts", "without valid", "without test", "train only"],
)
def test_parts(
    folders: dict[str, int], sizes: tuple[int, int, int | None], tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, SMALL | folders)
    config = ImageFolder(path=str(tmp_path), valid_fraction=0.2, image_size=4)
    data = load_data(config)
    test = load_test(config, data)
    assert (len(data.train), len(data.valid), None if test is None else len(test)) == sizes


def test_a_class_may_be_absent_from_the_test_part(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL | {"train/fox": 2, "test/cat": 1, "test/fox": 2})
    assert _read(tmp_path, "test").labels.tolist() == [0, 2, 2]


@pytest.mark.parametrize(("image_size", "expected"), [(None, 64), (4, 4), (33, 33)])
def test_images_are_resized(image_size: int | None, expected: int, tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL)
    assert _read(tmp_path, image_size=image_size).pixels.shape == (10, 3, expected, expected)


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (6, 1), (3, 2), (8, 3)])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_images_are_turned_as_exif_says(
    ending: str, orientation: int, quarter_turns: int, tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, SMALL)
    upright = np.zeros((128, 128), np.uint8)
    upright[:64, :64], upright[:64, 64:], upright[64:, :64] = 240, 160, 80
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "train" / "cat" / f"000.{ending}"
    file.with_suffix(".png").unlink()
    Image.fromarray(np.rot90(upright, quarter_turns)).save(file, exif=exif)
    red = _read(tmp_path).pixels[0, 0].astype(int)
    np.testing.assert_allclose(red[[1, 1, 6, 6], [1, 6, 1, 6]], [240, 160, 80, 0], atol=3)


COLOR = (200, 100, 50)
MODES = {
    "gray": (Image.new("L", (9, 9), 77), (77, 77, 77)),
    "gray and alpha": (Image.new("LA", (9, 9), (77, 10)), (77, 77, 77)),
    "black and white": (Image.new("1", (9, 9), 1), (255, 255, 255)),
    "palette": (Image.new("RGB", (9, 9), COLOR).quantize(4), COLOR),
    "color and alpha": (Image.new("RGBA", (9, 9), (*COLOR, 128)), COLOR),
}


@pytest.mark.parametrize(("image", "color"), MODES.values(), ids=MODES)
def test_every_image_becomes_rgb(
    image: Image.Image, color: tuple[int, int, int], tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, SMALL)
    image.save(tmp_path / "train" / "cat" / "000.png")
    pixels = _read(tmp_path).pixels[0]
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.reshape(color, (3, 1, 1)), (3, 8, 8)))


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "bmp", "gif", "tiff", "webp"])
def test_formats(ending: str, tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL)
    Image.new("RGB", (16, 16), COLOR).save(tmp_path / "train" / "cat" / f"zz.{ending}")
    images = _read(tmp_path)
    assert len(images.labels) == 11
    np.testing.assert_allclose(images.pixels[4].mean(axis=(1, 2)), COLOR, atol=6)


@pytest.mark.parametrize(
    "name",
    [
        "train/cat/.hidden.png",
        "train/cat/.thumbnails/a.png",
        "train/.hidden/a.png",
        "train/cat/notes.txt",
        "train/x.png",
    ],
)
def test_what_is_hidden_or_no_image_is_passed_over(name: str, tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("no image")
    images = _read(tmp_path)
    assert images.class_names == ("cat", "dog")
    assert len(images.labels) == 10


def test_images_in_folders_of_a_class_belong_to_it(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL | {"train/cat/tabby": 3})
    assert np.bincount(_read(tmp_path).labels).tolist() == [7, 6]


def test_home_is_expanded(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "home" / "photos", SMALL)
    assert len(_read(Path("~/photos")).labels) == 10


UNREADABLE = {
    "text": lambda content: b"no image",
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "damaged": lambda content: content[:45] + bytes(len(content) - 45),
}


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_image(change: Callable[[bytes], bytes], tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL)
    file = tmp_path / "train" / "dog" / "002.png"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError, match=r"cannot be read as an image: .*Repair or remove it") as raised:
        _read(tmp_path)
    assert str(raised.value).startswith(f"{file}: ")


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint16, "png"), (np.int32, "tiff"), (np.float32, "tiff")])
def test_more_than_8_bits_are_refused_and_not_cut_off(
    dtype: type, ending: str, tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, SMALL)
    file = tmp_path / "train" / "cat" / f"deep.{ending}"
    Image.fromarray(np.full((9, 9), 1000, dtype)).save(file)
    with pytest.raises(DataError, match=f"{file}: .*more than 8 bits a channel"):
        _read(tmp_path)


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow with AVIF")
def test_a_damaged_avif_image(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL)
    file = tmp_path / "train" / "cat" / "a.avif"
    Image.new("RGB", (16, 16), COLOR).save(file)
    file.write_bytes(file.read_bytes().replace(b"av01", b"av99"))
    with pytest.raises(DataError, match=f"{file}: cannot be read as an image"):
        _read(tmp_path)


def test_an_empty_class(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL | {"train/fox": 0})
    with pytest.raises(DataError, match=f"{tmp_path / 'train' / 'fox'}: a class without images.*remove the folder"):
        _read(tmp_path)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_class_that_is_not_in_train(part: Split, tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL | {f"{part}/cat": 1, f"{part}/fox": 1})
    strange = tmp_path / part / "fox"
    with pytest.raises(DataError, match=f"{strange}: a class without a folder in {tmp_path / 'train'}"):
        _read(tmp_path, part)


FLAT = {"cat": 10, "dog": 20}


def test_of_a_flat_folder_the_same_share_of_every_class_is_the_test_part(
    tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, FLAT)
    assert [np.bincount(_read(tmp_path, part).labels).tolist() for part in ("train", "test")] == [[8, 16], [2, 4]]
    config = ImageFolder(path=str(tmp_path), image_size=8, valid_fraction=0.25, test_fraction=0.5)
    data = load_data(config)
    test = load_test(config, data)
    assert test is not None
    assert (len(data.train), len(data.valid), len(test)) == (12, 3, 15)
    other = load_test(config.model_copy(update={"split_seed": 1}), data)
    assert other is not None
    assert torch.equal(test.images, other.images)


def _test_files(num_images: int) -> set[str]:
    """Returns the names of the cats in the test set of a flat folder, of so many cats and as many dogs."""
    names = [f"{name}/{row:03}.png" for name in ("cat", "dog") for row in range(num_images)]
    _, test = split_off_test(np.repeat([0, 1], num_images), names, 0.2, "flat")
    return {names[row] for row in test if row < num_images}


def test_images_that_are_added_leave_the_others_in_their_part() -> None:
    before, after = _test_files(100), _test_files(110)
    assert (len(before), len(after)) == (20, 22)
    assert len(before - after) <= 4  # drawn anew, 16 of them would go


def test_a_test_image_is_not_opened_in_tuning(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, FLAT)
    config = ImageFolder(path=str(tmp_path), image_size=8)
    for name in _test_files(10):
        (tmp_path / name).write_bytes(b"no image")
    data = load_data(config)
    with pytest.raises(DataError, match="cannot be read as an image"):
        load_test(config, data)


def test_a_test_part_is_split_off_train_only_if_asked(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, {"train/cat": 10, "train/dog": 10, "valid/cat": 2, "valid/dog": 2})
    config = ImageFolder(path=str(tmp_path), image_size=8)
    assert load_test(config, load_data(config)) is None
    asked = ImageFolder(path=str(tmp_path), image_size=8, test_fraction=0.3)
    data = load_data(asked)
    test = load_test(asked, data)
    assert test is not None
    assert (len(data.train), len(data.valid), len(test)) == (14, 4, 6)


@pytest.mark.parametrize(
    ("folders", "settings", "message"),
    [
        ({}, {}, "needs a folder for each of at least 2 classes; got 0"),
        ({"cat": 3, "test/cat": 3, "test/dog": 3}, {}, "has test/ and no train/"),
        (
            {**SMALL, "test/cat": 1, "test/dog": 1},
            {"test_fraction": 0.2},
            "there is one: .*test. Leave test_fraction out",
        ),
        ({"cat": 3, "dog": 2}, {}, "a class needs 3 images, for training, validation and test; class 1 has 2"),
    ],
)
def test_folders_of_which_no_test_part_can_be_made(
    folders: dict[str, int], settings: dict[str, float], message: str, tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, folders)
    with pytest.raises(DataError, match=message):
        load_data(ImageFolder.model_validate({"path": str(tmp_path), **settings}))


@pytest.mark.parametrize(("folders", "count"), [({"train/cat": 2}, 1), ({"train": 2}, 0)])
def test_fewer_than_2_classes(folders: dict[str, int], count: int, tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, folders)
    with pytest.raises(DataError, match=f"train: needs a folder for each of at least 2 classes; got {count}"):
        _read(tmp_path)


def test_a_validation_part_without_images(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL | {"valid/cat": 0, "valid/dog": 0})
    with pytest.raises(DataError, match=f"{tmp_path / 'valid'}: holds no images"):
        load_data(ImageFolder(path=str(tmp_path)))


@GHOSTSCRIPT
@pytest.mark.timeout(60, func_only=True)
def test_no_program_in_an_image_runs(
    tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, SMALL)
    victims = Victims.below(tmp_path, monkeypatch)
    for name, content in victims.programs().items():
        (tmp_path / "train" / "cat" / f"{name}.jpg").write_bytes(content)
    with pytest.raises(DataError) as raised:
        _read(tmp_path)
    assert str(raised.value).count("its content is none of") == 3
    assert victims.are_unharmed()


@pytest.mark.timeout(60, func_only=True)
def test_pipes_and_broken_links_are_refused_at_once(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, SMALL)
    pipe, link = tmp_path / "train" / "cat" / "pipe.jpg", tmp_path / "train" / "dog" / "link.jpg"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(DataError) as raised:
        _read(tmp_path)
    first, second = str(raised.value).splitlines()
    assert first == f"{pipe}: cannot be read as an image: it is a pipe, a socket or a device, and no regular file"
    assert second.startswith(f"{link}: cannot be read as an image: No such file")


@pytest.mark.parametrize("count", [1, 2, MOST_NAMED, MOST_NAMED + 15])
def test_all_broken_images_are_named_at_once(count: int, tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, {"train/cat": 40, "train/dog": 3})
    broken = sorted((tmp_path / "train" / "cat").iterdir())[5 : 5 + count]
    for file in broken:
        file.write_bytes(b"broken")
    with pytest.raises(DataError) as raised:
        _read(tmp_path)
    lines = str(raised.value).splitlines()
    assert [line.split(": ")[0] for line in lines[:MOST_NAMED]] == list(map(str, broken[:MOST_NAMED]))
    assert lines[-1].endswith(f"Repair or remove {'it' if count == 1 else 'them'}")
    assert lines[MOST_NAMED:] == (
        ["and 15 more images that cannot be read. Repair or remove them"] if count > MOST_NAMED else []
    )
