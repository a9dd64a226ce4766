"""What a study would stumble over on this machine, found before anything is imported that takes seconds: no torch here.

`check`, `run` and `train` ask the same; what only torch can tell, workers find before their first trial.
"""

import functools
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from http.client import HTTPException
from itertools import islice, pairwise
from pathlib import Path

from pipeline.config.cnn import CnnConfig
from pipeline.config.data import Arrays, DataConfig, ImageFolder
from pipeline.config.loss import wrong_number_of_weights
from pipeline.config.model import BackboneConfig, MlpConfig, ModelBlock, top_layers
from pipeline.config.schema import did_you_mean, short_repr
from pipeline.config.training import RmsProp, Sgd
from pipeline.config.trial import TrialConfig
from pipeline.core.errors import DataError, DeviceError, ModelError
from pipeline.core.processes.machine import DEVICE, gpu_memory_bytes, has_bfloat16, has_no_gpu, memory_bytes
from pipeline.data.sources.user_data import (
    DOWNLOADED,
    archive_file,
    archive_shape,
    check_user_data,
    class_folders,
    data_folders,
    download_addresses,
    how_to_get,
    missing_files,
    train_folder,
)
from pipeline.models.backbones.timm_names import timm_architectures, timm_tags

# (channels, height, width) of an image.
ImageShape = tuple[int, int, int]
# From a data set to the shape of an image, and its classes, or fewer where that is not known.
Shape = Callable[[DataConfig], tuple[ImageShape, int] | None]
# From paths in the configuration to configurations that have all extremes of these settings.
BoundaryConfigs = Callable[[Sequence[str]], Iterable[TrialConfig]]

# Shape of an image, and classes, of the data sets that are known before they are read.
KNOWN_SHAPES: dict[str, tuple[ImageShape, int]] = {
    "fashion_mnist": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "digits": ((1, 8, 8), 10),
}
BYTES_PER_VALUE = 4
# So long a server of data sets may take to answer.
ANSWER_SECONDS = 5.0
# Of each matter, configurations that are looked at: those at the ends of ranges and choices come first.
MAX_CHECKED = 2_000
SIZE_PATHS = (
    *("model.kind", "model.width", "model.hidden_layers", "model.head.width", "model.head.hidden_layers"),
    *("model.stages", "model.blocks", "model.channels", "model.channel_growth", "model.kernel_size", "model.block"),
    *("optimizer.kind", "optimizer.momentum", "ema_decay", "data.kind"),
)
IMAGE_SIZE_PATHS = (
    *("model.kind", "model.stages", "model.channels", "model.pooling"),
    *("data.kind", "data.path", "data.image_size"),
)
BFLOAT16_REMEDY = "this machine has no instructions for it, and takes ten times as long as with float32"


def check_ready(boundary_configs: BoundaryConfigs, device: str) -> None:
    """Proves, as far as can be known at once, that this machine can train what a study may draw.

    Args:
        boundary_configs: Returns what it may draw.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        DeviceError: There is no such device or precision, or the memory does not suffice.
        DataError: Your own data are not where the space says.
        ModelError: timm knows no such architecture, or no such weights of it; or images are too small for a network.
    """
    check_device(device)
    for config in _checked_configs(boundary_configs, ("precision",)):
        check_precision(config.precision, device)
    for data in dict.fromkeys(config.data for config in _checked_configs(boundary_configs, ("data.kind", "data.path"))):
        check_user_data(data)
    for config in _checked_configs(boundary_configs, ("loss.class_weights", "loss.kind", "data.kind", "data.path")):
        check_class_weights(config)
    for config in _checked_configs(boundary_configs, ("model.kind", "model.name")):
        if isinstance(config.model, BackboneConfig):
            check_architecture(config.model.name)
    check_image_size(_checked_configs(boundary_configs, IMAGE_SIZE_PATHS))
    on_processor = device == "cpu" or has_no_gpu()
    there = memory_bytes() if on_processor else gpu_memory_bytes()
    if there is not None:
        check_memory(
            _checked_configs(boundary_configs, SIZE_PATHS),
            there,
            "this machine" if on_processor else "this machine's largest GPU",
        )


def prove_built_in(boundary_configs: BoundaryConfigs, data_dir: str | None) -> list[str]:
    """Proves that the built-in data sets that a study may draw are here, or can be downloaded.

    Args:
        boundary_configs: Returns what it may draw.
        data_dir: Folder in which data sets are looked for first.

    Returns:
        What a user should know: which ones will be downloaded.

    Raises:
        DataError: One is not here, and the folder for it cannot be written to or no server answers.
    """
    folders, notices = data_folders(data_dir), []
    for name in dict.fromkeys(config.data.kind for config in _checked_configs(boundary_configs, ("data.kind",))):
        if not (missing := missing_files(name, folders)):
            continue
        what = f"{DOWNLOADED[name]} ({', '.join(missing)})"
        if (reason := _why_no_download(name, folders[0])) is not None:
            raise DataError(how_to_get(what, folders, reason))
        notices.append(f"{what} is in none of {', '.join(map(str, folders))}: it will be downloaded to {folders[0]}")
    return notices


def _why_no_download(name: str, folder: Path) -> str | None:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return f"{there} cannot be written to"
    reason = None
    for address in download_addresses(name):
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=ANSWER_SECONDS).close()
        except urllib.error.HTTPError:  # an answer: servers need not like HEAD, or the name of a folder
            return None
        except (OSError, HTTPException) as error:
            reason = f"{urllib.parse.urlsplit(address).hostname} does not answer ({getattr(error, 'reason', error)})"
        else:
            return None
    return reason


def check_device_name(name: str) -> None:
    """Proves that a device is well named.

    Raises:
        DeviceError: It is not.
    """
    if DEVICE.fullmatch(name) is None:
        hint = ". Did you mean cuda?" if name.lower().startswith(("gpu", "nvidia")) else did_you_mean(name, ["cuda"])
        raise DeviceError(f"device must be auto, cpu, cuda or cuda:N; got {short_repr(name)}{hint}")


def check_device(name: str) -> None:
    """Proves that a device is well named, and that it may be there.

    Raises:
        DeviceError: It is not.
    """
    check_device_name(name)
    if name.startswith("cuda") and has_no_gpu():
        raise DeviceError(f"there is no device {name}: this machine has 0 CUDA devices. Use --device auto")


def check_precision(precision: str, device: str) -> None:
    """Proves that a precision makes sense on a device.

    Raises:
        DeviceError: It does not.
    """
    on_processor = device == "cpu" or has_no_gpu()
    if precision == "tf32" and on_processor:
        raise DeviceError("precision tf32 needs a CUDA device; this run is on cpu. Use precision: float32 or auto")
    if precision == "bfloat16" and on_processor and has_bfloat16() is False:
        raise DeviceError(f"precision bfloat16: {BFLOAT16_REMEDY}. Use precision: float32 or auto")


def check_class_weights(config: TrialConfig) -> None:
    """Proves that a list of weights has one for each class, where the classes are known before training.

    Raises:
        DataError: It has not.
    """
    weights = config.loss.class_weights
    if isinstance(weights, str) or isinstance(config.data, Arrays):
        return
    known = _shape(config.data)
    if known is not None and len(weights) != known[1]:
        raise DataError(wrong_number_of_weights(len(weights), known[1]))


def check_architecture(name: str) -> None:
    """Proves that timm knows an architecture.

    Raises:
        ModelError: It does not; names the nearest one.
    """
    known, (architecture, dot, tag) = timm_architectures(), name.partition(".")
    if architecture not in known:
        raise ModelError(
            f"a backbone must be one of timm.list_models(); got {short_repr(name)}{did_you_mean(architecture, known)}"
        )
    if dot and tag not in (tags := timm_tags().get(architecture, {tag})):
        raise ModelError(
            f"a backbone's tag must be one of its weights' in timm; got {short_repr(name)}{did_you_mean(tag, tags)}. "
            f"{architecture} has {', '.join(sorted(tags))}; without a tag it is the first that timm names"
        )


def check_memory(configs: Iterable[TrialConfig], there: int, whose: str) -> None:
    """Proves that the largest of some trainings may fit into a memory.

    Args:
        configs: The trainings.
        there: The memory in bytes.
        whose: It is, for the message.

    Raises:
        DeviceError: It cannot.
        DataError: Your own data cannot be looked into.
    """
    shape = functools.cache(_shape)  # images are looked at once
    needed, weights, config = max(
        ((training_bytes(config, shape), num_weights(config, shape), config) for config in configs),
        key=lambda size: size[:2],
    )
    if needed <= there:
        return
    path, size, settings = _largest_part(config.model)
    raise DeviceError(
        f"{path}: the largest network, {size}, has {weights:,} weights, and its training takes at least "
        f"{needed / 2**30:,.1f} GiB (weights, gradients, the optimizer's averages, the best epoch's weights); "
        f"{whose} has {there / 2**30:,.1f}. Make {settings} smaller"
    )


def _largest_part(model: ModelBlock) -> tuple[str, str, str]:
    """Returns, of a network that is too large: the setting to blame, its size in words, and what to lower."""
    if isinstance(model, CnnConfig):
        stages = " - ".join(f"{channels:,}" for channels in model.stage_channels)
        return "model.channels", f"stages of {stages} channels", "model.channels, model.stages or model.head.width"
    layers = top_layers(model)
    assert layers is not None, "of other networks nothing is counted"
    widths = layers.widths
    many = f"{len(widths)} x {widths[0]:,}" if len(set(widths)) == 1 else f"layers of up to {max(widths, default=0):,}"
    return "model.width", f"{many} units", "model.width or model.hidden_layers"


def check_image_size(configs: Iterable[TrialConfig]) -> None:
    """Proves that convolutional networks can halve their images as often as they have to.

    Raises:
        ModelError: The images are too small.
        DataError: Your own data cannot be looked into.
    """
    shape = functools.cache(_shape)
    for config in configs:
        if isinstance(config.model, CnnConfig):
            if (known := shape(config.data)) is None:
                continue
            _, height, width = known[0]
            if (message := config.model.too_small(height, width)) is not None:
                raise ModelError(f"model.stages: {message}")


def num_weights(config: TrialConfig, shape: Shape | None = None) -> int:
    """Returns the weights of a network's own layers, or fewer where a count is not known before training.

    Unknown are other networks' weights, a backbone's own and its features, and how many classes an archive has.

    Args:
        config: The training.
        shape: Returns the values in an image, and the classes, of a data set; None looks at it.
    """
    if (layers := top_layers(config.model)) is None:
        return 0
    inputs, kernels, classes = 1, 0, 1
    if isinstance(config.model, MlpConfig | CnnConfig):
        (channels, height, width), classes = (shape or _shape)(config.data) or ((1, 1, 1), 2)
        inputs = channels * height * width
        if isinstance(config.model, CnnConfig):
            inputs, kernels = config.model.num_features(height, width), config.model.num_kernel_weights(channels)
    sizes = [inputs, *layers.widths, classes]
    return kernels + sum(above * below + above for below, above in pairwise(sizes))


def training_bytes(config: TrialConfig, shape: Shape | None = None) -> int:
    """Returns the memory that a training's weights and their companions take at least; activations come on top.

    Args:
        config: The training.
        shape: See `num_weights`.
    """
    match config.optimizer:
        case Sgd(momentum=momentum):
            averages = int(momentum > 0)
        case RmsProp(momentum=momentum):
            averages = 1 + int(momentum > 0)
        case _:
            averages = 2
    copies = 3 + averages + int(config.ema_decay is not None)  # the weights, their gradients, the best epoch's weights
    return num_weights(config, shape) * copies * BYTES_PER_VALUE


def _shape(data: DataConfig) -> tuple[ImageShape, int] | None:
    if isinstance(data, ImageFolder):
        size = data.image_size or 64
        return (3, size, size), len(class_folders(train_folder(data)))
    if isinstance(data, Arrays):
        return archive_shape(archive_file(data)), 2
    return KNOWN_SHAPES.get(data.kind)  # a plug-in's data are looked at when they are read


def _checked_configs(boundary_configs: BoundaryConfigs, paths: Sequence[str]) -> Iterable[TrialConfig]:
    return islice(boundary_configs(paths), MAX_CHECKED)
