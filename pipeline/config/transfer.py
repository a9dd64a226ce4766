"""Settings of transfer learning: which layers learn when, augmentation, and the cache of frozen layers' output."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.config.kinds import Block, ImpliedKind, KindBlock, KindOf, register_built_ins

RateFactor = Annotated[float, Field(gt=0.0, le=1.0)]


class NoTransfer(Block):
    """All layers learn, from the first epoch on, at one rate: for training from scratch, and for every perceptron."""

    kind: Literal["none"] = "none"


class Frozen(Block):
    """Only the head learns; the backbone keeps its weights and its batch-normalization statistics."""

    kind: Literal["frozen"] = "frozen"


class UnfreezingBlock(Block):
    lr_factor: RateFactor = 0.3
    """Learning rate of the backbone's unfrozen stages, as a share of the head's."""
    layer_decay: RateFactor = 1.0
    """Factor of the rate from each stage to the one below: the second stage learns at lr * lr_factor * layer_decay."""


class Unfreeze(UnfreezingBlock):
    """First only the head learns, then also the backbone's top stages; the schedule starts again: Yosinski et al.,
    NeurIPS 2014; Howard and Ruder, ACL 2018.
    """

    kind: Literal["unfreeze"] = "unfreeze"
    frozen_epochs: NonNegativeInt = 3
    """The largest number of `epochs` in which only the head learns. Early stopping may end this phase sooner."""
    unfreeze_top_stages: PositiveInt | Literal["all"] = 1
    """Number of top stages that learn after that; all: the whole backbone."""


class Auto(UnfreezingBlock):
    """Progressive unfreezing, as in the lecture. First only the head learns; then also the top stage, then the top two,
    as long as that improves validation. If unfreezing does not help, the network is changed and the head starts again:
    with little data its top stage is dropped, with enough data its head gets another hidden layer. It ends when a
    changed network does not help either, or when `epochs` are used up.
    """

    kind: Literal["auto"] = "auto"
    phase_epochs: PositiveInt = 5
    """The largest number of epochs of each phase, with its own schedule. Early stopping may end a phase sooner."""
    little_data: PositiveInt = 200
    """Fewer training images per class than this count as little data."""


class AnyAugmentation(KindBlock):
    group: ClassVar[str] = "augmentation"


class NoAugmentation(AnyAugmentation):
    kind: Literal["none"] = "none"


class AugmentationBlock(AnyAugmentation):
    crop_padding: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Each image is padded on all sides by this share of its height and width (by reflection), and a window of its own
    size is cut out at random: 0.125 is 4 pixels of 32 (rounded to whole pixels). 0: no crops."""
    flip: bool = False
    """Each image is mirrored left to right with probability 1/2. Not for digits or letters."""
    color_jitter: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Brightness, contrast and saturation are each multiplied by a factor from 1 - this to 1 + this, drawn for groups
    of 8 images; for images of 1 or 3 channels. 0: not."""
    rand_augment: NonNegativeInt = 0
    """Operations of RandAugment, drawn for groups of 8 images of 1 or 3 channels: Cubuk et al., CVPRW 2020. 0: none."""
    rand_augment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """How strong those operations are."""
    erase: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Probability with which a rectangle of 2 to 33 % of an image is replaced by the mean color: Zhong et al., AAAI
    2020. 0: never."""
    mixup: NonNegativeFloat = 0.0
    """Images and labels are averaged in pairs, with a weight from Beta(this, this): Zhang et al., ICLR 2018. 0: not."""
    cutmix: NonNegativeFloat = 0.0
    """A rectangle of an image is replaced by another image's, of an area from Beta(this, this) before the border cuts
    it off; labels are mixed as the pixels are: Yun et al., ICCV 2019. With mixup as well, one of the two is drawn for
    each batch. 0: not."""


class WindowsAndMirrors(AugmentationBlock):
    crop_padding: Annotated[float, Field(ge=0.0, le=0.5)] = 0.125
    """As custom's."""
    flip: bool = True
    """As custom's."""


class LightAugmentation(WindowsAndMirrors):
    """Windows and mirror images."""

    kind: Literal["light"] = "light"


class StrongAugmentation(WindowsAndMirrors):
    """Light, and RandAugment, random erasing, mixup and cutmix: for long trainings."""

    kind: Literal["strong"] = "strong"
    rand_augment: NonNegativeInt = 2
    """As custom's."""
    erase: Annotated[float, Field(ge=0.0, le=1.0)] = 0.25
    """As custom's."""
    mixup: NonNegativeFloat = 0.2
    """As custom's."""
    cutmix: NonNegativeFloat = 1.0
    """As custom's."""


class CustomAugmentation(AugmentationBlock):
    """What is asked for, and nothing else."""

    kind: Literal["custom"] = "custom"


class FeatureCacheConfig(Block):
    """Computes the output of frozen layers once for each image, stores it in the workspace, and uses it in every epoch
    of every trial. In float32 this changes results no more than another batch size does.
    """

    enabled: bool = True
    """Whether to use the cache where possible: for frozen layers, if no augmentation changes the images."""
    limit_gib: PositiveFloat = 8.0
    """Disk space in GiB that one entry may take; larger features are computed in every epoch."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the stored features; float16 halves the space but rounds them."""
    views: PositiveInt | None = None
    """With augmentation, cache this many augmented views of every image, and take each batch from one of them at
    random: less variety than fresh augmentation; null: no cache with augmentation."""


TransferConfig = Annotated[NoTransfer | Frozen | Unfreeze | Auto, Field(discriminator="kind"), ImpliedKind("unfreeze")]
AugmentConfig = Annotated[AnyAugmentation, KindOf("augmentation"), ImpliedKind("custom")]
register_built_ins(
    "pipeline.data.augmentation:AUGMENTATIONS",
    NoAugmentation,
    LightAugmentation,
    StrongAugmentation,
    CustomAugmentation,
)
