"""The models that studies have kept, at work: what they predict for the validation and the test part."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from pipeline.config.data import DataConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import doubt_of_test, load_data, load_test
from pipeline.export.network import build_network
from pipeline.records.final import Part
from pipeline.setup.device import use_compute, use_precision
from pipeline.setup.images import data_wanted, prepared
from pipeline.training.evaluation import predict


@dataclass(frozen=True)
class KeptModel:
    """A model that a study has kept.

    Attributes:
        name: What it is called.
        config: What it was trained by.
        file: Its weights.
        valid_images: Fingerprint of the images that it was validated on, see `ImageData.valid_fingerprint`; None where
            that says nothing of it.
    """

    name: str
    config: TrialConfig
    file: Path
    valid_images: str | None = None


class ModelBench:
    """Loads models and the images that they are measured on, and keeps what they predict.

    Args:
        compute: What it runs on.
        data_dir: Folder in which data sets are looked for first.

    Raises:
        DeviceError: There is no such device.
    """

    def __init__(self, compute: Compute = Compute(), *, data_dir: str | None = None) -> None:
        self.device, self.data_dir = use_compute(compute), data_dir
        self._data: dict[DataConfig, ImageData] = {}
        self._tests: dict[DataConfig, LabeledImages | None] = {}
        self._predicted: dict[tuple[Path, Part], Tensor] = {}

    def data(self, config: TrialConfig) -> ImageData:
        """Returns a configuration's training and validation images.

        Raises:
            DataError: They cannot be read.
        """
        wanted = data_wanted(config)
        if wanted not in self._data:
            self._data[wanted] = load_data(wanted, data_dir=self.data_dir, device=self.device)
        return self._data[wanted]

    def images(self, config: TrialConfig, part: Part) -> LabeledImages | None:
        """Returns a part of a configuration's data, as the data set holds it; None where there is no test part.

        Raises:
            DataError: It cannot be read.
        """
        if part == "valid":
            return self.data(config).valid
        wanted = data_wanted(config)
        if wanted not in self._tests:
            self._tests[wanted] = load_test(wanted, self.data(config), data_dir=self.data_dir, device=self.device)
        return self._tests[wanted]

    def doubt_of_test(self, config: TrialConfig) -> str | None:
        """Returns what a person should know of a configuration's test part; None for nothing, or where there is none.

        Raises:
            DataError: It cannot be read.
        """
        test = self.images(config, "test")
        return None if test is None else doubt_of_test(self.data(config), test)

    def network(self, kept: KeptModel) -> nn.Module:
        """Builds a model on the device, in evaluation mode."""
        from safetensors.torch import load_file

        data = self.data(kept.config)
        network = build_network(
            kept.config,
            load_file(kept.file),
            image_shape=data.image_shape,
            channels=prepared(kept.config.model, data.valid).mean.shape[1],
            num_classes=data.num_classes,
        )
        return network.module.to(self.device)

    def precision(self, config: TrialConfig) -> AbstractContextManager[object]:
        """Returns the context for a configuration's forward passes."""
        return use_precision(config.precision, self.device)

    def log_probabilities(self, kept: KeptModel, part: Part) -> Tensor:
        """Returns the logarithms of a model's probabilities for a part that there is: (images, classes).

        They are on the processor.
        """
        if (kept.file, part) not in self._predicted:
            images = self.images(kept.config, part)
            assert images is not None
            inputs = prepared(kept.config.model, images)
            predicted = predict(self.network(kept), inputs, self.precision(kept.config)).cpu()
            self._predicted[kept.file, part] = predicted
        return self._predicted[kept.file, part]
