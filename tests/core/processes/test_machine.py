"""What this machine has; Linux's files are played by others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.processes import machine


@pytest.mark.parametrize(
    ("text", "has_it"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512f avx2 notbf16\n", False),
        ("nothing is known\n", None),
    ],
)
def test_bfloat16_is_among_the_flags(monkeypatch: pytest.MonkeyPatch, text: str, has_it: bool | None) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *arguments, **options: text)
    assert machine.has_bfloat16() is has_it


def test_a_container_may_have_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "1000" if self.name == "memory.max" else "max")
    assert machine.memory_bytes() == 1000
    monkeypatch.setattr(Path, "read_text", lambda self: "max")
    assert machine.memory_bytes() > 2**28


@pytest.mark.parametrize(
    ("version", "visible", "devices", "none"),
    [
        ("2.14.0+cpu", None, ["nvidia0"], True),
        ("2.14.0", "", ["nvidia0"], True),
        ("2.14.0", "-1", ["nvidia0"], True),
        ("2.14.0", None, ["nvidia0"], False),
        ("2.14.0", "0", ["nvidia0"], False),
        ("2.14.0", None, [], True),
        ("2.14.0", None, ["nvidiactl"], True),
    ],
)
def test_no_gpu_is_known_without_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, visible: str | None, devices: list[str], none: bool
) -> None:
    for device in devices:
        (tmp_path / device).touch()
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.has_no_gpu() is none


def _nvml(gibibytes: list[int], broken: str = "") -> SimpleNamespace:
    """Returns as much of NVIDIA's management library as is called; ``calls`` says when it was opened and closed."""
    calls: list[str] = []

    def begin() -> int:
        calls.append("init")
        return int(broken == "init")

    def count(number: Any) -> int:
        number._obj.value = len(gibibytes)
        return 0

    def handle(index: int, device: Any) -> int:
        device._obj.value = 100 + index
        return int(broken == "device")

    def info(device: Any, memory: Any) -> int:
        memory._obj.total = gibibytes[device.value - 100] * 2**30
        return 3 if broken == "memory" else 0

    return SimpleNamespace(
        calls=calls,
        nvmlInit_v2=begin,
        nvmlShutdown=lambda: calls.append("shutdown"),
        nvmlDeviceGetCount_v2=count,
        nvmlDeviceGetHandleByIndex_v2=handle,
        nvmlDeviceGetMemoryInfo=info,
    )


def test_a_gpus_memory_is_asked_of_nvidias_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = _nvml([16, 80, 24])
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    assert machine.gpu_memory_bytes() == 80 * 2**30
    assert library.calls == ["init", "shutdown"]


@pytest.mark.parametrize("broken", ["init", "device", "memory", "no GPU", "no library"])
def test_a_gpus_memory_may_not_be_known(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def library(_name: str) -> SimpleNamespace:
        if broken == "no library":
            raise OSError("libnvidia-ml.so.1: cannot open shared object file")
        return _nvml([] if broken == "no GPU" else [16], broken)

    monkeypatch.setattr("ctypes.CDLL", library)
    assert machine.gpu_memory_bytes() is None
