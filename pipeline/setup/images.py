"""Images as a network wants them: read at its size, standardized as its weights were trained."""

from dataclasses import replace

import torch

from pipeline.config.data import DataConfig, ImageFolder, Table
from pipeline.config.model import BackboneConfig, ModelBlock
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DataError
from pipeline.data.image_data import ImageData, LabeledImages


def data_config_for(config: TrialConfig) -> DataConfig:
    """Returns which data to load: a folder's images are read at the backbone's size, unless it says otherwise.

    Raises:
        ModelError: There is no such backbone.
    """
    data = config.data.model_copy(update={"sampling": "natural"})  # it changes what is drawn, and not what is loaded
    if not isinstance(config.model, BackboneConfig) or not isinstance(data, ImageFolder | Table):
        return data
    if data.image_size is not None or (isinstance(data, Table) and data.image is None):
        return data
    from pipeline.models.backbones.backbone import image_size

    return data.model_copy(update={"image_size": image_size(config.model)})


def prepared(model: ModelBlock, images: LabeledImages) -> LabeledImages:
    """Returns images that give a network's input.

    They stay as they are, but for a backbone they are brought to its size. If that has pretrained weights, bytes are
    standardized as in their training, and a gray image's one channel becomes three; other values, which have no known
    unit, keep the data set's own standardization.

    Args:
        model: The network's description.
        images: Standardized by the training images.

    Raises:
        DataError: The data are no images, or pretrained weights cannot take so many channels.
    """
    if not isinstance(model, BackboneConfig):
        return images
    if images.has_numbers:
        raise DataError(
            f"{model.kind} needs images; the data are rows of {images.images.shape[1]:,} numbers. Set model: mlp"
        )
    from pipeline.models.backbones.backbone import image_size, standardization

    sized = replace(images, image_size=image_size(model))
    if (trained := standardization(model)) is None:
        return sized
    channels = images.images.shape[1]
    if channels not in (1, 3):
        raise DataError(
            f"pretrained weights need images of 1 or 3 channels; these have {channels}. Set model.pretrained: false, "
            "or give images without their fourth channel"
        )
    if images.images.dtype == torch.uint8:
        mean, scale = (images.mean.new_tensor(values).view(1, -1, 1, 1) for values in (trained.mean, trained.std))
        return replace(sized, mean=255.0 * mean, scale=1.0 / (255.0 * scale))
    return replace(sized, mean=images.mean.expand(1, 3, 1, 1), scale=images.scale.expand(1, 3, 1, 1))


def prepared_data(model: ModelBlock, data: ImageData) -> ImageData:
    """Returns a study's images as `prepared` does; raises what it raises."""
    if not isinstance(model, BackboneConfig):
        return data
    return replace(data, train=prepared(model, data.train), valid=prepared(model, data.valid))
