"""The models that studies have kept, at work: what they predict for the validation and the test set."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.data.image_data import ImageData, LabeledImages
from pipeline.data.loading import doubt_of_test
from pipeline.export.network import build_network
from pipeline.records.final import Split
from pipeline.setup.device import use_precision
from pipeline.setup.images import prepared
from pipeline.setup.inputs import Inputs
from pipeline.training.evaluation import predict


@dataclass(frozen=True)
class SavedModel:
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


class Predictor:
    """Loads models and the images that they are measured on, and keeps what they predict.

    Args:
        compute: What it runs on.
        data_dir: Folder in which data sets are looked for first.

    Raises:
        DeviceError: There is no such device.
    """

    def __init__(self, compute: Compute = Compute(), *, data_dir: str | None = None) -> None:
        self.inputs = Inputs(compute, data_dir=data_dir)
        self.device = self.inputs.device
        self._predicted: dict[tuple[Path, Split], Tensor] = {}

    def data(self, config: TrialConfig) -> ImageData:
        """Returns a configuration's training and validation images; see `Inputs.data`."""
        return self.inputs.data(config)

    def images(self, config: TrialConfig, split: Split) -> LabeledImages | None:
        """Returns a part of a configuration's data, as the data set holds it; None where there is no test set.

        Raises:
            DataError: It cannot be read.
        """
        return self.inputs.data(config).valid if split == "valid" else self.inputs.test(config)

    def doubt_of_test(self, config: TrialConfig) -> str | None:
        """Returns what a person should know of a configuration's test set; None for nothing, or where there is none.

        Raises:
            DataError: It cannot be read.
        """
        test = self.images(config, "test")
        return None if test is None else doubt_of_test(self.data(config), test)

    def network(self, saved: SavedModel) -> nn.Module:
        """Builds a model on the device, in evaluation mode."""
        from safetensors.torch import load_file

        data = self.data(saved.config)
        network = build_network(
            saved.config,
            load_file(saved.file),
            image_shape=data.image_shape,
            channels=prepared(saved.config.model, data.valid).mean.shape[1],
            num_classes=data.num_classes,
        )
        return network.module.to(self.device)

    def precision(self, config: TrialConfig) -> AbstractContextManager[object]:
        """Returns the context for a configuration's forward passes."""
        return use_precision(config.precision, self.device)

    def log_probabilities(self, saved: SavedModel, split: Split) -> Tensor:
        """Returns the logarithms of a model's probabilities for a part that there is: (images, classes).

        They are on the processor.
        """
        if (saved.file, split) not in self._predicted:
            images = self.images(saved.config, split)
            assert images is not None
            inputs = prepared(saved.config.model, images)
            predicted = predict(self.network(saved), inputs, self.precision(saved.config)).cpu()
            self._predicted[saved.file, split] = predicted
        return self._predicted[saved.file, split]
