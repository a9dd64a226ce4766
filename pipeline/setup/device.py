"""The machine a training run uses: device, precision, threads."""

import contextlib

import torch

from pipeline.core.compute import Compute
from pipeline.core.errors import DeviceError
from pipeline.core.processes.machine import has_bfloat16
from pipeline.setup.preflight import BFLOAT16_REMEDY, check_device_name


def choose_device(name: str, worker: int = 0) -> torch.device:
    """Returns the device for ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Args:
        name: The device's.
        worker: Number of the worker that asks: they take the GPUs in turn, unless one is named.

    Raises:
        DeviceError: There is no such device here.
    """
    check_device_name(name)
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", worker % torch.cuda.device_count())
    if name == "auto":
        return torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise DeviceError(f"there is no device {name}: this machine has {found} CUDA devices. Use --device auto")
    return device


def use_compute(compute: Compute, worker: int = 0) -> torch.device:
    """Returns the device that a process computes on, and sets its number of threads.

    Args:
        compute: What is asked for.
        worker: The worker's number; see `choose_device`.

    Raises:
        DeviceError: There is no such device here.
    """
    if compute.threads is not None:
        torch.set_num_threads(compute.threads)
    return choose_device(compute.device, worker)


def use_precision(name: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Sets how float32 matrix products are computed, and returns the context for forward passes.

    Args:
        name: ``float32``, ``tf32`` (matrix products in TensorFloat-32), or ``bfloat16`` (automatic mixed
            precision), or ``auto`` (bfloat16 where the hardware has it, else float32).
        device: Where the computation runs.

    Raises:
        DeviceError: TF32 or bfloat16 is asked for on a device that has none.
    """
    if name in ("auto", "bfloat16"):
        if device.type == "cuda":
            is_there: bool | None = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            is_there = has_bfloat16()
        if name == "auto":
            name = "bfloat16" if is_there else "float32"
        elif is_there is False:
            raise DeviceError(f"precision bfloat16: {BFLOAT16_REMEDY}. Use precision: float32 or auto")
    if name == "tf32" and device.type != "cuda":
        raise DeviceError(
            f"precision tf32 needs a CUDA device; this run is on {device.type}. Use precision: float32 or auto"
        )
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    return torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else contextlib.nullcontext()
