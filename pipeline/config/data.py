"""Settings of the data: a class for each source, and what all have in common."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from pipeline.config.kinds import KindBlock, KindOf, register_built_ins
from pipeline.config.training import Fraction, tuple_from_list

Names = Annotated[tuple[str, ...], tuple_from_list]
Sampling = Literal["natural", "balanced"]


class DataBlock(KindBlock):
    group: ClassVar[str] = "data"
    valid_fraction: Fraction = 0.1
    """Share of the training images held out for validation, the same share of every class. Ignored if the data have a
    validation set of their own."""
    folds: Annotated[int, Field(ge=1, le=20)] | None = None
    """For small data: cross-validation. Split the training images into this many folds, the same share of every class
    in each, and train once for each fold, validated on it and trained on the others; a trial's value is the mean over
    folds, and it is pruned between folds. null, or 1: one training, validated on `valid_fraction`."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split, or of the folds. The test set never depends on it."""
    max_train_images: PositiveInt | None = None
    """Train on at most this many images, the same share of every class; null: all. Validation is not reduced."""
    sampling: Sampling = "natural"
    """What an epoch trains on: natural: every image once; balanced: as many images, but every class equally often, so
    that images of rare classes are repeated and of frequent ones some are left out, others in each epoch. Validation
    and test images stay as they are."""

    @property
    def num_folds(self) -> int:
        """How many trainings a configuration takes: 1 without folds."""
        return self.folds or 1


class FashionMnist(DataBlock):
    """Xiao et al., 2017: 28 x 28 gray images of 10 kinds of clothing; see --data-dir."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"


class Mnist(DataBlock):
    """LeCun et al., 1998: 28 x 28 gray images of handwritten digits; see --data-dir."""

    kind: Literal["mnist"] = "mnist"


class Cifar10(DataBlock):
    """Krizhevsky, 2009: 32 x 32 color images of 10 kinds of animals and vehicles; see --data-dir."""

    kind: Literal["cifar10"] = "cifar10"


class Digits(DataBlock):
    """scikit-learn's 8 x 8 gray images of handwritten digits, which come with it."""

    kind: Literal["digits"] = "digits"


class OwnData(DataBlock):
    path: str
    """Where your data are. A relative path starts at the folder of the file that contains it; with --set, on standard
    input, or in a space that is named without its folder, at the current folder."""
    test_fraction: Fraction | None = None
    """Share of the images split off as a test set, the same share of every class. An image stays in the same part
    whatever is added beside it, but for a few at the border. null: 0.2 if the source does not name its parts; no test
    set if it names a training set and no test set. Refused if it has a test set."""


class ImageFolder(OwnData):
    """Your own images in a folder for each class: `path/CLASS`, or `path/train/CLASS`, and then `path/valid` and
    `path/test` in the same way if you have them.
    """

    kind: Literal["image_folder"] = "image_folder"
    image_size: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Height and width in pixels to which images are resized; null: the backbone's, or 64."""


class Arrays(OwnData):
    """Your own images: an .npz file with `x_train`, `y_train`, and `x_valid`, `y_valid`, `x_test`, `y_test` if you have
    them.
    """

    kind: Literal["arrays"] = "arrays"


class Table(OwnData):
    """Your own data in a table, CSV or Parquet, with a row for each example: an image's path and its label, or numbers
    and categories and a label.
    """

    kind: Literal["table"] = "table"
    label: str
    """The column with the labels: words, or numbers that stand for classes."""
    image: str | None = None
    """The column with the paths of the images; relative ones start at the table's folder. null: there are no images,
    and all other columns are the values to learn from."""
    split: str | None = None
    """The column that says train, valid or test; null: a test set and a validation set are split off."""
    image_size: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Height and width in pixels to which images are resized; null: the backbone's, or 64."""
    categorical: Names = ()
    """Columns of numbers that are names of categories. A column with anything but numbers is one anyway; each category
    becomes a value of its own, 1 or 0."""
    ignore: Names = ()
    """Columns that are not learned from, such as an identifier."""
    missing: Literal["refuse", "median"] = "refuse"
    """What becomes of empty cells. refuse: the row is named, and nothing is trained; median: the median of the column
    in the training and validation rows takes the place of a number, no category is 1, and a value is added that is 1
    where the cell was empty. A label is never empty."""


DataConfig = Annotated[DataBlock, KindOf("data")]
register_built_ins("pipeline.data.loading:READERS", FashionMnist, Mnist, Cifar10, Digits, ImageFolder, Arrays, Table)
