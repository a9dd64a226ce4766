"""Devices and precisions, those that this machine lacks included."""

import pytest
import torch

from pipeline.core.errors import DeviceError
from pipeline.setup.device import choose_device, use_precision


@pytest.fixture
def num_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    number: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    return number


@pytest.mark.parametrize(
    ("num_gpus", "name", "expected"),
    [
        (0, "auto", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (1, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["num_gpus"],
)
@pytest.mark.usefixtures("num_gpus")
def test_choice(name: str, expected: str) -> None:
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize("num_gpus", [2], indirect=True)
@pytest.mark.usefixtures("num_gpus")
def test_workers_take_the_gpus_in_turn() -> None:
    assert [str(choose_device("auto", worker)) for worker in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert str(choose_device("cuda:1", 2)) == "cuda:1"


@pytest.mark.parametrize(
    ("num_gpus", "name", "message"),
    [
        (0, "cuda", r"there is no device cuda: this machine has 0 CUDA devices. Use --device auto"),
        (1, "cuda:1", r"there is no device cuda:1: this machine has 1 CUDA devices"),
        (1, "gpu", r"device must be auto, cpu, cuda or cuda:N; got 'gpu'"),
        (1, "mps", r"device must be .* got 'mps'"),
        (1, "cuda:x", r"device must be .* got 'cuda:x'"),
        (1, "cuda:-1", r"device must be .* got 'cuda:-1'"),
        (1, "", r"device must be .* got ''"),
    ],
    indirect=["num_gpus"],
)
@pytest.mark.usefixtures("num_gpus")
def test_a_device_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        choose_device(name)


def test_tf32_needs_cuda() -> None:
    with pytest.raises(DeviceError, match=r"precision tf32 needs a CUDA device; this run is on cpu.*precision: float3"):
        use_precision("tf32", torch.device("cpu"))


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_have_the_precision_only_inside(name: str, dtype: torch.dtype) -> None:
    matrix = torch.ones(2, 2)
    precision = use_precision(name, torch.device("cpu"))
    for _ in range(2):
        with precision:
            assert (matrix @ matrix).dtype == dtype
        assert (matrix @ matrix).dtype == torch.float32


@pytest.mark.parametrize(("there", "dtype"), [(True, torch.bfloat16), (False, torch.float32), (None, torch.float32)])
def test_auto_is_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, there: bool | None, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("pipeline.setup.device.has_bfloat16", lambda: there)
    with use_precision("auto", torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_bfloat16_without_instructions_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.setup.device.has_bfloat16", lambda: False)
    with pytest.raises(DeviceError, match=r"precision bfloat16: .* ten times .* Use precision: float32 or auto"):
        use_precision("bfloat16", torch.device("cpu"))


def test_float32_undoes_an_earlier_tf32() -> None:
    use_precision("tf32", torch.device("cuda"))
    assert torch.get_float32_matmul_precision() == "high"
    use_precision("float32", torch.device("cpu"))
    assert torch.get_float32_matmul_precision() == "highest"
