"""What an export was made with: versions, and nothing of the machine; and the licence of pretrained weights."""

import contextlib
import importlib.metadata
import platform
from pathlib import Path, PurePath
from typing import Any

from pipeline import __version__
from pipeline.config.data import OwnData
from pipeline.config.model import BackboneConfig
from pipeline.config.schema import kinds_in
from pipeline.config.trial import TrialConfig
from pipeline.plugins.needed import metrics_in, needed_plugins

PACKAGES = ("torch", "timm", "numpy", "pillow", "safetensors", "onnx", "onnxruntime", "onnxscript")


def environment(config: TrialConfig) -> dict[str, Any]:
    """Returns the versions of what takes part in an export, and the plug-ins that its configuration needs, if any."""
    settings = config.to_dict()
    plugins = needed_plugins([*kinds_in(settings, TrialConfig), *metrics_in(settings)])
    return {
        "dnntune": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        **({"plugins": plugins} if plugins else {}),
    }


def without_machine_paths(config: TrialConfig) -> tuple[TrialConfig, tuple[str, ...]]:
    """Returns a configuration whose absolute paths are cut down to their last name, and which settings these are."""
    settings: dict[str, str] = {}
    if isinstance(config.data, OwnData) and Path(config.data.path).is_absolute():
        settings["data.path"] = PurePath(config.data.path).name
    weights = config.model.pretrained if isinstance(config.model, BackboneConfig) else False
    if isinstance(weights, str) and Path(weights).is_absolute():
        settings["model.pretrained"] = PurePath(weights).name
    return config.replaced(settings) if settings else config, tuple(settings)


def weights_origin(model: BackboneConfig) -> tuple[str, str]:
    """Returns where a backbone's pretrained weights come from, and their licence, each in words."""
    from pipeline.models.backbones.weight_sources import PACKAGED, weights_config

    if isinstance(model.pretrained, str):
        return f"the file {PurePath(model.pretrained).name}", "not known: ask whoever made the file"
    timms = weights_config(model.name)
    package = PACKAGED.get(timms.architecture, ("", ""))[0]
    if package:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(package)
            said = importlib.metadata.metadata(package).json.get("license_expression")
            licence = str(said) if said else _timms_licence(timms, "; the package says none")
            return f"the Python package {package} {version}", licence
    return f"timm's hub, {timms.hf_hub_id or timms.url} ({timms.tag or 'untagged'})", _timms_licence(timms, "")


def _timms_licence(timms: Any, more: str) -> str:
    return f"{timms.license} according to timm{more}" if timms.license else f"not known to timm{more}"
