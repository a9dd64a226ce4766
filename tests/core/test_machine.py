"""What this machine has; Linux's files are played by others."""

from pathlib import Path

import pytest

from pipeline.core import machine


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
