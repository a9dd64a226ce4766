"""Data on the device that computes: what everything that trains or measures begins with."""

from typing import TYPE_CHECKING

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import load_data, load_test
from pipeline.data.noise import noise
from pipeline.setup.device import use_compute
from pipeline.setup.images import data_config_for

if TYPE_CHECKING:
    from pipeline.config.data import DataConfig


class Inputs:
    """Loads data onto a device, each data set once.

    Args:
        compute: What it runs on; the number of threads is set.
        data_dir: Folder in which data sets are looked for first.
        worker: Number of the worker that asks, see `choose_device`.
        is_single: Whether the last data set is forgotten before another one is loaded: they can be large.

    Raises:
        DeviceError: There is no such device.
    """

    def __init__(
        self, compute: Compute = Compute(), *, data_dir: str | None = None, worker: int = 0, is_single: bool = False
    ) -> None:
        self.device = use_compute(compute, worker)
        self._data_dir, self._is_single = data_dir, is_single
        self._data: dict[DataConfig, ImageData] = {}
        self._tests: dict[DataConfig, LabeledImages | None] = {}

    def data(self, config: TrialConfig) -> ImageData:
        """Returns a configuration's training and validation images.

        Raises:
            DataError: They cannot be read.
            ModelError: There is no such backbone as the configuration names.
        """
        wanted = data_config_for(config)
        if wanted not in self._data:
            if self._is_single:
                self._data.clear()
                self._tests.clear()
            self._data[wanted] = load_data(wanted, data_dir=self._data_dir, device=self.device)
        return self._data[wanted]

    def test(self, config: TrialConfig) -> LabeledImages | None:
        """Returns a configuration's test images; None where the data have no test set.

        Raises:
            DataError: They cannot be read.
        """
        data, wanted = self.data(config), data_config_for(config)
        if wanted not in self._tests:
            self._tests[wanted] = load_test(wanted, data, data_dir=self._data_dir, device=self.device)
        return self._tests[wanted]


def load_images(config: TrialConfig, random_images: str | None, *, data_dir: str | None, compute: Compute) -> ImageData:
    """Returns a configuration's training and validation images, or random ones, and sets the number of threads.

    Args:
        config: Whose data.
        random_images: A shape, such as ``3x32x32``, to take random images in place of the data.
        data_dir: Folder in which data sets are looked for first.
        compute: What it runs on.

    Raises:
        DnntuneError: The data or the device cannot be used, or the shape is no shape.
    """
    inputs = Inputs(compute, data_dir=data_dir)
    return inputs.data(config) if random_images is None else noise(random_images, inputs.device)
