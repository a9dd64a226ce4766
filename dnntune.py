"""dnntune tunes image classifiers: this module is what a program or a notebook calls.

>>> import dnntune
>>> study = dnntune.tune("digits_mlp", trials=20, workers=2)
>>> study.best.value, study.best.params
>>> study.finalize(workers=2)
>>> study.export("model")
>>> dnntune.load("model").predict("digit.png").labels

What a call needs is imported when it runs: importing this module takes a moment.
"""

import importlib
from typing import TYPE_CHECKING, Any

from pipeline import __version__
from pipeline.core import errors
from pipeline.core.workspace import Workspace
from pipeline.records import events

if TYPE_CHECKING:
    from pipeline.api.model import Model, Predictions, load
    from pipeline.api.study import Study, open_study
    from pipeline.api.training import train
    from pipeline.api.tuning import check, tune

__all__ = [
    "Model",
    "Predictions",
    "Study",
    "Workspace",
    "__version__",
    "check",
    "errors",
    "events",
    "load",
    "open_study",
    "train",
    "tune",
]

_PLACES = {
    "Model": "model",
    "Predictions": "model",
    "load": "model",
    "Study": "study",
    "open_study": "study",
    "train": "training",
    "check": "tuning",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"pipeline.api.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
