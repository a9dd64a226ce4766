"""Settings of the images."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipeline.config.training import Block, Fraction


class DataConfig(Block):
    name: Literal["fashion_mnist", "mnist", "cifar10", "digits", "image_folder", "arrays"]
    """Which data set; the last two are your own and need `path`."""
    path: str | None = None
    """The folder (image_folder) or .npz file (arrays); the other data sets are found through --data-dir. A relative one
    counts from the folder of the file that says it; with --set, on standard input, or in a space that is named without
    its folder, from the current one."""
    image_size: Annotated[int, Field(ge=4, le=2048)] | None = None
    """Height and width in pixels to which image_folder's images are resized; null: 64."""
    valid_fraction: Fraction = 0.1
    """Share of the training images held out for validation, the same share of every class. A source that brings its
    own validation part keeps that one."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the validation split. The test part never depends on it."""
    max_train_images: PositiveInt | None = None
    """Train on at most this many images, the same share of every class; null: all. Validation is not reduced."""
