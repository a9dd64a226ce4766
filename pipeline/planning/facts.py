"""What data are: all that a plan goes by, found without reading more than it needs. No test image is opened."""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.data import Arrays, DataBlock, ImageFolder
from pipeline.config.kinds import kinds
from pipeline.config.schema import did_you_mean
from pipeline.core.errors import DataError

# Of so many images of a folder the size is read, evenly spread over all of them.
MEASURED_IMAGES = 200


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set.

    Attributes:
        data: The block of settings that reads it.
        classes: From the name of each class to its number of images, those held out for validation included.
        height: Median height of the images, in pixels.
        width: Median width, likewise.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        num_repeated: Validation images that are training images, too; None where the images were not read.
    """

    data: DataBlock
    classes: dict[str, int]
    height: int
    width: int
    channels: int
    num_repeated: int | None

    @property
    def num_images(self) -> int:
        """Images to train and validate on."""
        return sum(self.classes.values())

    @property
    def side(self) -> int:
        """The shorter of height and width, in pixels."""
        return min(self.height, self.width)

    @property
    def majority(self) -> float:
        """Share of the largest class: the accuracy of a model that always names it."""
        return max(self.classes.values()) / self.num_images

    @property
    def rarest(self) -> tuple[str, int]:
        """The smallest class, and its number of images."""
        return min(self.classes.items(), key=lambda item: item[1])


def look(source: str, *, data_dir: str | None = None) -> DataFacts:
    """Looks at a data set.

    Args:
        source: A folder of images (``CLASS/*.jpg``, or ``train/CLASS/*.jpg``), an .npz file of arrays, or the name of
            a built-in data set.
        data_dir: Folder in which built-in data sets are looked for first.

    Raises:
        DataError: It is none of these, or cannot be read.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(ImageFolder(path=str(path)))
    if path.is_file():
        if path.suffix != ".npz":
            raise DataError(f"{path}: must be a folder of images or an .npz file. docs/data.md says how they look")
        return _loaded(Arrays(path=str(path)), data_dir)
    built_in = [name for name, row in kinds("data").items() if "path" not in row.block.model_fields]
    if source not in built_in:
        hint = did_you_mean(source, built_in)
        raise DataError(f"{source}: no such file or folder, and no data set of {', '.join(built_in)}{hint}")
    return _loaded(kinds("data")[source].block.model_validate({"kind": source}), data_dir)


def _folder(data: ImageFolder) -> DataFacts:
    from pipeline.data.sources.image_folder import list_images

    train, valid = list_images(data, "train"), list_images(data, "valid")
    assert train is not None
    labels = [*train.labels, *([] if valid is None else valid.labels)]
    counts = Counter(train.class_names[label] for label in labels)
    sizes = list(_sizes(train.files[:: max(1, len(train.files) // MEASURED_IMAGES)]))
    return DataFacts(
        data,
        {name: counts[name] for name in train.class_names},
        height=round(statistics.median(height for height, _ in sizes)),
        width=round(statistics.median(width for _, width in sizes)),
        channels=3,
        num_repeated=None,
    )


def _sizes(files: list[Path]) -> Iterator[tuple[int, int]]:
    from PIL import Image, UnidentifiedImageError

    from pipeline.data.image_files import FORMATS

    for file in files:
        try:
            with Image.open(file, formats=FORMATS) as image:  # reads the header alone
                yield image.height, image.width
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise DataError(f"{file}: cannot be read as an image: {error}. Repair or remove it") from None


def _loaded(data: Any, data_dir: str | None) -> DataFacts:
    from pipeline.data.loading import load_data

    images = load_data(data, data_dir=data_dir)
    train, valid = (part.labels.bincount(minlength=images.num_classes) for part in (images.train, images.valid))
    channels, height, width = images.image_shape
    return DataFacts(
        data,
        dict(zip(images.class_names, (train + valid).tolist(), strict=True)),
        height=height,
        width=width,
        channels=channels,
        num_repeated=images.num_repeated,
    )
