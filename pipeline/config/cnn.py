"""Settings of convolutional networks from scratch. No torch here."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from pipeline.config.kinds import Block, register_built_ins
from pipeline.config.model import Counts, HeadConfig, LayerSettings, ModelBlock, counted
from pipeline.config.training import Probability


class Stages(Block):
    """How many convolutions there are, how wide each is, and how they are put together."""

    stages: Annotated[int, Field(ge=1, le=10)] = 3
    """Number of stages; between two, height and width are halved."""
    blocks: PositiveInt = 2
    """Number of blocks in each stage."""
    channels: PositiveInt | Counts = 32
    """Channels of the first stage, or a list with those of each (stages then follows from it)."""
    channel_growth: Annotated[float, Field(ge=1.0, le=4.0)] = 2.0
    """Channels of a stage over those of the stage before it, rounded to whole channels; 1: all stages are as wide."""
    kernel_size: Annotated[int, Field(ge=1, le=15)] = 3
    """Height and width of the kernels; padding keeps the size of the maps."""
    block: Literal["plain", "residual"] = "plain"
    """plain: a convolution, batch normalization and activation (Simonyan and Zisserman, ICLR 2015); residual: two
    convolutions, and a shortcut around them that is added before the second one's activation (He et al., CVPR 2016),
    a 1 x 1 convolution where the shape changes."""
    pooling: Literal["max", "average", "stride"] = "max"
    """What halves the maps between stages: the largest or the mean of 2 x 2 values, or a stride of 2 in the next
    convolution."""
    global_pooling: Literal["average", "max", "none"] = "average"
    """What the head gets of each of the last maps: its mean, its largest value, or every value."""

    @model_validator(mode="before")
    @classmethod
    def _stages_follow_from_a_list(cls, fields: Any) -> Any:
        return counted(fields, "stages", "channels")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of each stage, first to last."""
        if not isinstance(self.channels, int):
            return self.channels
        return tuple(round(self.channels * self.channel_growth**stage) for stage in range(self.stages))

    @property
    def block_layers(self) -> int:
        """Convolutions in a block, one after the other."""
        return 2 if self.block == "residual" else 1

    def map_size(self, length: int) -> int:
        """Returns the height or width of the last stage's maps; 0 where the images are too small to be halved so often.

        Args:
            length: That of the images, in pixels.
        """
        for _ in range(self.stages - 1):
            length = self._halved(length)
        return length

    def _halved(self, length: int) -> int:
        if length < 2:
            return 0
        return (length + 1) // 2 if self.pooling == "stride" else length // 2

    def too_small(self, height: int, width: int) -> str | None:
        """Returns why images cannot be halved as often as the stages ask for, or None if they can.

        Args:
            height: Of the images, in pixels.
            width: Likewise.
        """
        length, most = min(height, width), 1
        if self.map_size(length) > 0:
            return None
        while (length := self._halved(length)) > 0:
            most += 1
        return (
            f"between two stages height and width are halved: images of {height} x {width} pixels have room for "
            f"{most} stages; got {self.stages}. Lower it, or give larger images"
        )

    def num_features(self, height: int, width: int) -> int:
        """Returns how many values of an image the head gets."""
        values = self.map_size(height) * self.map_size(width) if self.global_pooling == "none" else 1
        return self.stage_channels[-1] * values

    def num_kernel_weights(self, image_channels: int) -> int:
        """Returns the weights of all kernels, without biases, normalization and the head."""
        total, inputs = 0, image_channels
        for stage, channels in enumerate(self.stage_channels):
            inner = (self.blocks * self.block_layers - 1) * channels
            total += (inputs + inner) * channels * self.kernel_size**2
            strides = self.pooling == "stride" and stage > 0
            if self.block == "residual" and (inputs != channels or strides):
                total += inputs * channels
            inputs = channels
        return total


class CnnConfig(LayerSettings, Stages, ModelBlock):
    """A convolutional network from scratch: stages of blocks, each stage on maps of half the size of those before it,
    and a classifier on what the last stage gives.
    """

    kind: Literal["cnn"] = "cnn"
    channel_dropout: Probability = 0.0
    """Probability with which a channel is dropped after each block, with all of its map (Tompson et al., CVPR 2015);
    with SELU by alpha dropout. What is kept is divided by 1 - rate in training."""
    head: HeadConfig = HeadConfig()
    """The top layers, on what global pooling gives; a linear classifier by default."""

    @property
    def num_layers(self) -> int:
        """Convolutions, one after the other."""
        return self.stages * self.blocks * self.block_layers

    @property
    def drops(self) -> bool:
        """Whether any channel, feature, or unit of the head may be dropped."""
        return self.channel_dropout > 0.0 or self.head.drops


register_built_ins("pipeline.models.build:MODELS", CnnConfig)
