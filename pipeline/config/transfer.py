"""Settings of transfer learning: which layers learn when, augmentation, and the cache of frozen layers' output."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.config.training import Block, ImpliedKind

RateFactor = Annotated[float, Field(gt=0.0, le=1.0)]


class NoTransfer(Block):
    """Everything learns, from the first epoch on, at one rate: what is trained from scratch, and every perceptron."""

    kind: Literal["none"] = "none"


class Frozen(Block):
    """The head alone learns: the backbone keeps its weights and its normalization's statistics."""

    kind: Literal["frozen"] = "frozen"


class UnfreezingBlock(Block):
    lr_factor: RateFactor = 0.3
    """Learning rate of the backbone's unfrozen stages, as a share of the head's."""
    layer_decay: RateFactor = 1.0
    """The same, once more for each stage further down: the one below the top learns at lr * lr_factor * layer_decay."""


class Unfreeze(UnfreezingBlock):
    """First the head alone learns, then the backbone's top stages with it, with the schedule begun anew: Yosinski et
    al., NeurIPS 2014; Howard and Ruder, ACL 2018.
    """

    kind: Literal["unfreeze"] = "unfreeze"
    frozen_epochs: NonNegativeInt = 3
    """Epochs at most, of `epochs`, in which the head alone learns. Early stopping ends them sooner."""
    unfreeze_top_stages: PositiveInt | Literal["all"] = 1
    """Stages that learn after that, from the top; all: the whole backbone."""


class Auto(UnfreezingBlock):
    """The lecture's ladder. The head alone learns; then the top stage with it, then the top two, as long as that
    improves validation. Where unfreezing does not, the network is changed and the ladder begins anew: with little data
    its top stage is dropped, with ample data its head gets another hidden layer. It ends when a change does not improve
    validation either, or when `epochs` are used up.
    """

    kind: Literal["auto"] = "auto"
    phase_epochs: PositiveInt = 5
    """Epochs of each rung at most, with a schedule of its own. Early stopping ends a rung sooner."""
    little_data: PositiveInt = 200
    """Data are little if there are fewer training images a class than this."""


class NoAugmentation(Block):
    kind: Literal["none"] = "none"


class AugmentationBlock(Block):
    crop_padding: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Each image is padded on all sides by this share of its height and width (by reflection), and a window of its own
    size is cut out at random: 0.125 is 4 pixels of 32 (rounded to whole pixels). 0: not."""
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
    """What frozen layers give for an image is computed once, kept in the workspace, and used in every epoch of every
    trial. In float32 that changes results by no more than the rounding of another batch size.
    """

    enabled: bool = True
    """Whether it is used where it can be: below what learns, when no augmentation changes the images."""
    limit_gib: PositiveFloat = 8.0
    """Gibibytes of disk that one entry may take; what would take more is computed in every epoch."""
    dtype: Literal["float32", "float16"] = "float32"
    """How features are kept; float16 takes half the space and rounds them."""
    views: PositiveInt | None = None
    """With augmentation: so many augmented views of every image are cached, and each batch is taken from one of them
    at random. Training then sees these and no others, less than fresh augmentation gives; null: no cache then."""


TransferConfig = Annotated[NoTransfer | Frozen | Unfreeze | Auto, Field(discriminator="kind"), ImpliedKind("unfreeze")]
AugmentConfig = Annotated[
    NoAugmentation | LightAugmentation | StrongAugmentation | CustomAugmentation,
    Field(discriminator="kind"),
    ImpliedKind("custom"),
]
