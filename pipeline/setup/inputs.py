"""Images for a command that trains in its own process."""

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.data.noise import noise
from pipeline.setup.device import use_compute
from pipeline.setup.images import data_config_for


def load_images(config: TrialConfig, random_images: str | None, *, data_dir: str | None, compute: Compute) -> ImageData:
    """Returns a configuration's training and validation images, and sets the number of threads.

    Args:
        config: Whose data.
        random_images: A shape, such as ``3x32x32``, to take random images in place of the data.
        data_dir: Folder in which data sets are looked for first.
        compute: What it runs on.

    Raises:
        DnntuneError: The data or the device cannot be used, or the shape is no shape.
    """
    on_device = use_compute(compute)
    if random_images is not None:
        return noise(random_images, on_device)
    return load_data(data_config_for(config), data_dir=data_dir, device=on_device)
