"""Settings of the images."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipeline.config.kinds import Block
from pipeline.config.training import Fraction

Sampling = Literal["natural", "balanced"]


class DataConfig(Block):
    name: Literal["fashion_mnist", "mnist", "cifar10", "digits", "image_folder", "arrays"]
    """Which data set; the last two are your own and need `path`."""
    path: str | None = None
    """The folder (image_folder) or .npz file (arrays); use --data-dir for the other data sets. A relative path starts
    at the folder of the file that contains it; with --set, on standard input, or in a space that is named without its
    folder, at the current folder."""
    image_size: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Height and width in pixels to which the images of an image_folder are resized; null: 64."""
    valid_fraction: Fraction = 0.1
    """Share of the training images held out for validation, the same share of every class. Ignored if the data have a
    validation set of their own."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split. The test set never depends on it."""
    max_train_images: PositiveInt | None = None
    """Train on at most this many images, the same share of every class; null: all. Validation is not reduced."""
    sampling: Sampling = "natural"
    """What an epoch trains on: natural: every image once; balanced: as many images, but every class equally often, so
    that images of rare classes are repeated and of frequent ones some are left out, others in each epoch. Validation
    and test images stay as they are."""
