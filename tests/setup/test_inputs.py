import pytest
import torch

from pipeline.config.data import DataConfig
from pipeline.config.trial import TrialConfig
from pipeline.core.compute import Compute
from pipeline.data.image_data import ImageData
from pipeline.data.loading import load_data
from pipeline.setup.inputs import Inputs

CPU = Compute(device="cpu")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[DataConfig]:
    asked: list[DataConfig] = []

    def load(config: DataConfig, *, data_dir: str | None, device: torch.device) -> ImageData:
        asked.append(config)
        return load_data(config, data_dir=data_dir, device=device)

    monkeypatch.setattr("pipeline.setup.inputs.load_data", load)
    return asked


def config(split_seed: int, lr: float = 0.1) -> TrialConfig:
    fields = {"data": {"kind": "digits", "split_seed": split_seed}, "optimizer": {"kind": "sgd", "lr": lr}}
    return TrialConfig.model_validate(fields)


def test_configurations_of_the_same_data_share_them(loaded: list[DataConfig]) -> None:
    inputs = Inputs(CPU)
    data = inputs.data(config(0))
    assert inputs.data(config(0, lr=0.2)) is data
    assert inputs.data(config(1)) is not data
    assert inputs.data(config(0)) is data
    assert loaded == [config(0).data, config(1).data]
    test = inputs.test(config(0))
    assert test is not None
    assert inputs.test(config(0, lr=0.2)) is test
    assert torch.equal(test.mean, data.train.mean)


def test_of_large_data_only_the_last_are_held(loaded: list[DataConfig]) -> None:
    inputs = Inputs(CPU, is_single=True)
    first = inputs.data(config(0))
    assert inputs.data(config(0)) is first
    inputs.data(config(1))
    assert inputs.data(config(0)) is not first
    assert loaded == [config(seed).data for seed in (0, 1, 0)]


def test_the_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    Inputs(CPU)
    Inputs(Compute(threads=3, device="cpu"))
    assert told == [3]
