"""The machine a training run uses: device, precision, threads."""

import contextlib

import torch

from pipeline.errors import DeviceError


def choose_device(name: str, worker: int = 0) -> torch.device:
    """Returns the device for ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Args:
        name: The device's.
        worker: Number of the worker that asks: they take the GPUs in turn, unless one is named.

    Raises:
        DeviceError: There is no such device here.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", worker % torch.cuda.device_count())
    if name == "auto":
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device must be auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise DeviceError(f"device {name} is not there: this machine has {found} CUDA devices. Use --device auto")
    return device


def use_precision(name: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Sets how float32 matrix products are computed, and returns the context for forward passes.

    Args:
        name: ``float32``, ``tf32`` (matrix products in TensorFloat-32), or ``bfloat16`` (automatic mixed precision).
        device: Where the computation runs.

    Raises:
        DeviceError: TF32 is asked for on a device that has none.
    """
    if name == "tf32" and device.type != "cuda":
        raise DeviceError(f"precision tf32 needs a CUDA device; this run is on {device.type}. Use precision: float32")
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    return torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else contextlib.nullcontext()
