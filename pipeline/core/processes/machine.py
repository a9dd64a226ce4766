"""What this machine has, found without importing torch."""

import ctypes
import importlib.metadata
import os
import platform
import re
from pathlib import Path

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,4})?")
DEVICES = Path("/dev")
# Processors that multiply bfloat16 have one of these: x86, ARM.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


def memory_bytes() -> int:
    """Returns the main memory that a process may have: the machine's, or its container's if that has less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, int(Path(file).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return memory


def has_no_gpu() -> bool:
    """Returns whether this machine surely has no GPU that torch could use; to know that it has one needs torch."""
    if importlib.metadata.version("torch").endswith("+cpu"):
        return True
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return True
    devices = [*DEVICES.glob("nvidia[0-9]*"), *(DEVICES / name for name in ("dxg", "kfd", "nvhost-gpu"))]
    return platform.system() == "Linux" and not any(device.exists() for device in devices)


def has_bfloat16() -> bool | None:
    """Returns whether the processor has instructions for bfloat16; None where that cannot be known."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return None if found is None else not BFLOAT16_FLAGS.isdisjoint(found[1].split())


def gpu_memory_bytes() -> int | None:
    """Returns the memory of this machine's largest GPU, as NVIDIA's management library says; None if it cannot tell."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if library.nvmlInit_v2():
        return None
    try:
        count, largest = ctypes.c_uint(), 0
        if library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
        for index in range(count.value):
            device, memory = ctypes.c_void_p(), _Memory()
            if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
                return None
            if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
                return None
            largest = max(largest, int(memory.total))
        return largest or None
    finally:
        library.nvmlShutdown()


class _Memory(ctypes.Structure):
    """The library's nvmlMemory_t, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))
